"""Training: a compiled loop over pure step functions, evaluation in batches, and a progress display."""

from ._epoch import NonFinite as NonFinite
from ._epoch import epoch_order as epoch_order
from .accumulation import value_and_grad_in_parts as value_and_grad_in_parts
from .ensemble import MembersEpoch as MembersEpoch
from .ensemble import member as member
from .ensemble import sweep as sweep
from .ensemble import sweep_by_epoch as sweep_by_epoch
from .loop import Epoch as Epoch
from .loop import NonFiniteError as NonFiniteError
from .loop import fit as fit
from .loop import fit_by_epoch as fit_by_epoch
from .metrics import accuracy as accuracy
from .metrics import apply_in_batches as apply_in_batches
from .metrics import mean_in_batches as mean_in_batches
from .placement import Placement as Placement
from .placement import data_parallel as data_parallel
from .precision import mixed_precision as mixed_precision
from .progress import epoch_progress as epoch_progress
from .step import State as State
from .step import Stateful as Stateful
from .step import Step as Step
from .step import gradient_step as gradient_step
from .step import init_state as init_state
from .step import init_stateful as init_stateful
from .step import stateful_step as stateful_step
from .stopping import no_better as no_better
