from .pairs import cascades_with_debris as cascades_with_debris
from .pairs import search_run as search_run
from .path import PathSpec as PathSpec
from .search import SearchSpec as SearchSpec
from .tunnelling import SOLIDS as SOLIDS
from .tunnelling import Solid as Solid
from .tunnelling import solid_of as solid_of
