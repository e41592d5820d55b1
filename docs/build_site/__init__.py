"""What builds the site: the code of the pages run, the reference, the gallery. `make docs` calls it through MkDocs."""
