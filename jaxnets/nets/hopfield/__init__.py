"""Hopfield networks: their energy, how they are made to remember, how they recall, and how much they can hold."""

from jaxnets.nets.hopfield.capacity import mean_field as mean_field
from jaxnets.nets.hopfield.capacity import overlap_by_load as overlap_by_load
from jaxnets.nets.hopfield.dynamics import Recall as Recall
from jaxnets.nets.hopfield.dynamics import asynchronous as asynchronous
from jaxnets.nets.hopfield.dynamics import fields as fields
from jaxnets.nets.hopfield.dynamics import overlap as overlap
from jaxnets.nets.hopfield.dynamics import synchronous as synchronous
from jaxnets.nets.hopfield.dynamics import update_unit as update_unit
from jaxnets.nets.hopfield.energy import Params as Params
from jaxnets.nets.hopfield.energy import energy as energy
from jaxnets.nets.hopfield.graded import graded as graded
from jaxnets.nets.hopfield.graded import graded_energy as graded_energy
from jaxnets.nets.hopfield.graded import grading as grading
from jaxnets.nets.hopfield.storage import store_hebb as store_hebb
from jaxnets.nets.hopfield.storage import store_projection as store_projection
from jaxnets.nets.hopfield.storage import store_storkey as store_storkey
