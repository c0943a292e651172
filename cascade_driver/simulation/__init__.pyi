from .defects import Census as Census
from .defects import take_census as take_census
from .kick_sequence import draw_knock_on_of_gammas as draw_knock_on_of_gammas
from .kick_sequence import knock_on_of_gammas as knock_on_of_gammas
from .knock_on import sample_directions as sample_directions
from .lammps_engine import LammpsEngine as LammpsEngine
from .protocols import named_protocols as named_protocols
from .zero_point import Vibrations as Vibrations
