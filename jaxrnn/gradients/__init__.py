"""How gradients travel through a recurrence: measured on a logarithmic scale, summarised and fitted."""

from jaxrnn.gradients.adjoint import adjoint_norms as adjoint_norms
from jaxrnn.gradients.decay import DecayFit as DecayFit
from jaxrnn.gradients.decay import decay_fit as decay_fit
from jaxrnn.gradients.statistics import geometric_mean as geometric_mean
from jaxrnn.gradients.statistics import median as median
from jaxrnn.gradients.statistics import quantile as quantile
from jaxrnn.gradients.statistics import root_mean_square as root_mean_square
