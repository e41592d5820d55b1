"""More problems than fit in memory: read in chunks, solved by workers, written to a store that survives them."""

from jaxcalc.core.public import show_names
from jaxcalc.streaming import xarray as xarray
from jaxcalc.streaming.executors import processes as processes
from jaxcalc.streaming.executors import threads as threads
from jaxcalc.streaming.store import MemoryStore as MemoryStore
from jaxcalc.streaming.store import StoreError as StoreError
from jaxcalc.streaming.store import ZarrStore as ZarrStore

show_names(__name__, "xarray")
