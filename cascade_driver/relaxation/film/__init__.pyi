from .dynamics import follow as follow
from .dynamics import release as release
from .spectrum import film_spectrum as film_spectrum
from .spectrum import find_background as find_background
from .spectrum import read_film_background as read_film_background
from .spectrum import tabulate as tabulate
