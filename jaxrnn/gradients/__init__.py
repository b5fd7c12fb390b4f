"""How gradients travel through a recurrence: measured on a logarithmic scale, fitted, held against theory."""

from jaxrnn.gradients.adjoint import adjoint_norms as adjoint_norms
from jaxrnn.gradients.adjoint import adjoint_parts as adjoint_parts
from jaxrnn.gradients.decay import DecayFit as DecayFit
from jaxrnn.gradients.decay import decay_fit as decay_fit
from jaxrnn.gradients.extreme_transport import ExtremeTransport as ExtremeTransport
from jaxrnn.gradients.extreme_transport import extreme_transport as extreme_transport
from jaxrnn.gradients.jacobian import step_jacobians as step_jacobians
from jaxrnn.gradients.lyapunov import LyapunovSpectrum as LyapunovSpectrum
from jaxrnn.gradients.lyapunov import adjoint_lyapunov_spectrum as adjoint_lyapunov_spectrum
from jaxrnn.gradients.lyapunov import entropy_rate as entropy_rate
from jaxrnn.gradients.lyapunov import kaplan_yorke_dimension as kaplan_yorke_dimension
from jaxrnn.gradients.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from jaxrnn.gradients.lyapunov import mean_log_determinant as mean_log_determinant
from jaxrnn.gradients.statistics import geometric_mean as geometric_mean
from jaxrnn.gradients.statistics import median as median
from jaxrnn.gradients.statistics import quantile as quantile
from jaxrnn.gradients.statistics import root_mean_square as root_mean_square
from jaxrnn.gradients.transport import Histogram as Histogram
from jaxrnn.gradients.transport import Transport as Transport
from jaxrnn.gradients.transport import histogram as histogram
from jaxrnn.gradients.transport import spaced_lags as spaced_lags
from jaxrnn.gradients.transport import transport as transport
