"""How gradients travel through a recurrence: measured on a logarithmic scale, fitted, held against theory."""

import importlib

from jaxrnn.gradients.activity import Activation as Activation
from jaxrnn.gradients.activity import Saturation as Saturation
from jaxrnn.gradients.activity import activations as activations
from jaxrnn.gradients.activity import memory_rates as memory_rates
from jaxrnn.gradients.activity import saturation as saturation
from jaxrnn.gradients.activity import time_constants as time_constants
from jaxrnn.gradients.adjoint import adjoint_norms as adjoint_norms
from jaxrnn.gradients.adjoint import adjoint_parts as adjoint_parts
from jaxrnn.gradients.bounds import Bound as Bound
from jaxrnn.gradients.bounds import largest_slope as largest_slope
from jaxrnn.gradients.bounds import log_gap as log_gap
from jaxrnn.gradients.bounds import norm_bound as norm_bound
from jaxrnn.gradients.bounds import product_bound as product_bound
from jaxrnn.gradients.bounds import step_bound as step_bound
from jaxrnn.gradients.clipping import Clipping as Clipping
from jaxrnn.gradients.clipping import ClipShares as ClipShares
from jaxrnn.gradients.clipping import clip_shares as clip_shares
from jaxrnn.gradients.clipping import clipping as clipping
from jaxrnn.gradients.contributions import Contributions as Contributions
from jaxrnn.gradients.contributions import contributions as contributions
from jaxrnn.gradients.contributions import cosines as cosines
from jaxrnn.gradients.contributions import log_gradient_norm as log_gradient_norm
from jaxrnn.gradients.contributions import log_norms_summed as log_norms_summed
from jaxrnn.gradients.contributions import share_beyond as share_beyond
from jaxrnn.gradients.decay import DecayFit as DecayFit
from jaxrnn.gradients.decay import decay_fit as decay_fit
from jaxrnn.gradients.decay import float_floor as float_floor
from jaxrnn.gradients.extreme_transport import ExtremeTransport as ExtremeTransport
from jaxrnn.gradients.extreme_transport import extreme_transport as extreme_transport
from jaxrnn.gradients.jacobian import step_jacobians as step_jacobians
from jaxrnn.gradients.landscape import Slice as Slice
from jaxrnn.gradients.landscape import curvature as curvature
from jaxrnn.gradients.landscape import filter_normalised as filter_normalised
from jaxrnn.gradients.landscape import gradient_direction as gradient_direction
from jaxrnn.gradients.landscape import hessian_product as hessian_product
from jaxrnn.gradients.landscape import loss_slice as loss_slice
from jaxrnn.gradients.landscape import one_unit_error as one_unit_error
from jaxrnn.gradients.landscape import one_unit_state as one_unit_state
from jaxrnn.gradients.landscape import top_hessian_direction as top_hessian_direction
from jaxrnn.gradients.linear import LinearFlow as LinearFlow
from jaxrnn.gradients.linear import linear_flow as linear_flow
from jaxrnn.gradients.lyapunov import LyapunovSpectrum as LyapunovSpectrum
from jaxrnn.gradients.lyapunov import adjoint_lyapunov_spectrum as adjoint_lyapunov_spectrum
from jaxrnn.gradients.lyapunov import entropy_rate as entropy_rate
from jaxrnn.gradients.lyapunov import kaplan_yorke_dimension as kaplan_yorke_dimension
from jaxrnn.gradients.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from jaxrnn.gradients.lyapunov import mean_log_determinant as mean_log_determinant
from jaxrnn.gradients.mean_field import MeanField as MeanField
from jaxrnn.gradients.mean_field import critical_weight_scale as critical_weight_scale
from jaxrnn.gradients.mean_field import mean_field as mean_field
from jaxrnn.gradients.monitor import Monitor as Monitor
from jaxrnn.gradients.monitor import Monitored as Monitored
from jaxrnn.gradients.monitor import Observation as Observation
from jaxrnn.gradients.monitor import Run as Run
from jaxrnn.gradients.monitor import Watch as Watch
from jaxrnn.gradients.monitor import median_log_norms as median_log_norms
from jaxrnn.gradients.monitor import output_saturation as output_saturation
from jaxrnn.gradients.monitor import parameter_norms as parameter_norms
from jaxrnn.gradients.omega import LossAndOmega as LossAndOmega
from jaxrnn.gradients.omega import omega as omega
from jaxrnn.gradients.omega import omega_immediate as omega_immediate
from jaxrnn.gradients.omega import omega_squared as omega_squared
from jaxrnn.gradients.sensitivity import Sensitivity as Sensitivity
from jaxrnn.gradients.sensitivity import sensitivity as sensitivity
from jaxrnn.gradients.statistics import geometric_mean as geometric_mean
from jaxrnn.gradients.statistics import mean as mean
from jaxrnn.gradients.statistics import median as median
from jaxrnn.gradients.statistics import quantile as quantile
from jaxrnn.gradients.statistics import root_mean_square as root_mean_square
from jaxrnn.gradients.tap import WithTap as WithTap
from jaxrnn.gradients.tap import tapped as tapped
from jaxrnn.gradients.transport import Histogram as Histogram
from jaxrnn.gradients.transport import Transport as Transport
from jaxrnn.gradients.transport import histogram as histogram
from jaxrnn.gradients.transport import spaced_lags as spaced_lags
from jaxrnn.gradients.transport import transport as transport


def __getattr__(name: str):
    """Loads `report` on first use: it alone needs Matplotlib."""
    if name != "report":
        raise AttributeError(f"module 'jaxrnn.gradients' has no attribute {name!r}")
    try:
        return importlib.import_module("jaxrnn.gradients.reporting.report").report
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ImportError('jaxrnn.gradients.report draws with Matplotlib: pip install "jaxrnn[plots]".') from error
