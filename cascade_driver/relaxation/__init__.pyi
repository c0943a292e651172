from . import debris as debris
from . import film as film
from . import tls as tls
