"""Pictures: each function takes arrays or results, draws on the Axes that `ax=` gives it and returns these Axes.

matplotlib is an optional dependency (`pip install "jaxcalc[plots]"`) and is imported when a picture is drawn. Without
`ax=` the picture has a figure of its own, `ax.figure`, which belongs to no window and uses no global state of
matplotlib: the picture looks the same with and without a display, and `ax.figure.savefig(path)` writes it. In a
notebook `ax.figure` at the end of a cell shows the picture; so does drawing on `ax=plt.gca()`.

>>> from jaxcalc import plots
>>> plots.curve(lambda x: x**2, -1.0, 1.0, tangent=0.5).get_legend_handles_labels()[1]
['f(x)', 'tangent at 0.5, slope 1']
"""

from jaxcalc.core.public import show_names
from jaxcalc.plots.batches import convergence as convergence
from jaxcalc.plots.batches import parameter_map as parameter_map
from jaxcalc.plots.batches import parameter_maps as parameter_maps
from jaxcalc.plots.comparisons import loss_curves as loss_curves
from jaxcalc.plots.comparisons import losses_by_rate as losses_by_rate
from jaxcalc.plots.comparisons import performance_profile as performance_profile
from jaxcalc.plots.comparisons import range_test as range_test
from jaxcalc.plots.curves import curve as curve
from jaxcalc.plots.descents import descent as descent
from jaxcalc.plots.descents import descent_on_contours as descent_on_contours
from jaxcalc.plots.fits import fit as fit
from jaxcalc.plots.planes import basins as basins
from jaxcalc.plots.planes import gradient_field as gradient_field
from jaxcalc.plots.planes import landscape as landscape

show_names(__name__)
