"""Check a hand-derived gradient, and name the equation that is wrong, and how.

    rules(f, *args)             every custom-VJP rule inside f, each at the values and cotangents that reach it
    gradient(loss, hand, *args) a hand-written gradient of a scalar loss, with its deltas if it gives them
    vjp(f, hand, *args)         a hand-written vector-Jacobian product of any function
    derivation(d)               one catalog entry (`Derivation`), by whichever of these fits it

Each runs a battery of checks (`BATTERY`, or those of `jaxnets.verify.checks` that are chosen; `AT_THE_INPUT` are those
that stay at the given arguments), in float64 with random cotangents, every entry of every leaf.  The truth never sees a
hand-written rule.  What each check can and cannot see: derivations/verification.md.
"""

from jaxnets.verify.battery import AT_THE_INPUT as AT_THE_INPUT
from jaxnets.verify.battery import BATTERY as BATTERY
from jaxnets.verify.derivation import Derivation as Derivation
from jaxnets.verify.derivation import derivation as derivation
from jaxnets.verify.entry import gradient as gradient
from jaxnets.verify.entry import rules as rules
from jaxnets.verify.entry import vjp as vjp
from jaxnets.verify.problem import Level as Level
from jaxnets.verify.report import Explanation as Explanation
from jaxnets.verify.report import Report as Report
from jaxnets.verify.report import Row as Row
from jaxnets.verify.report import Verdict as Verdict
