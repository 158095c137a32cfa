"""Check a hand-derived gradient against autodiff, and name the equation that is wrong.

    rules(f, *args)             every custom-VJP rule inside f, each at the values and cotangents that reach it
    gradient(loss, hand, *args) a hand-written gradient of a scalar loss, with its deltas if it gives them
    vjp(f, hand, *args)         a hand-written vector-Jacobian product of any function
    derivation(d)               one catalog entry (`Derivation`), by whichever of these fits it

Everything runs in float64 with random cotangents and compares every entry of every leaf.  The truth is
`jax.vjp(autodiff(f))`, which never sees a hand-written rule.
"""

from jaxnets.verify.derivation import Derivation as Derivation
from jaxnets.verify.derivation import derivation as derivation
from jaxnets.verify.hand import gradient as gradient
from jaxnets.verify.hand import vjp as vjp
from jaxnets.verify.report import Report as Report
from jaxnets.verify.report import Row as Row
from jaxnets.verify.report import Verdict as Verdict
from jaxnets.verify.sites import rules as rules
