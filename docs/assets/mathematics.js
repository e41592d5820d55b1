// Renders every formula of a page, which Markdown has left between \( and \) or \[ and \], with the KaTeX shipped here.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const source = element.textContent.trim()
    katex.render(source.slice(2, -2), element, { displayMode: source.startsWith("\\[") })
  }
})
