"""Wrong arguments of every public function: each is a TypeError or ValueError that names the culprit."""

from inspect import signature

import numpy as np
import pytensor
import pytensor.sparse
import pytensor.tensor as pt
import pytest
import scipy.sparse
from helpers import make_param

import symupdates
from symupdates import constraints, gradients, random, schedules

W, b, q = make_param((3, 2), "float64", "W"), make_param((2,), "float64", "b"), make_param((), "float64", "q")
SPARSE = pytensor.shared(scipy.sparse.csr_matrix(np.eye(2)), name="sparse")
RNG = pytensor.shared(np.random.default_rng(0), name="rng")
WHOLE = pytensor.shared(np.arange(3), name="whole")
X = pt.matrix("X")
OUTPUTS = W.sum(axis=0) + b
LOSS = (OUTPUTS**2).sum()
UPDATES = symupdates.apply_ema(symupdates.adam(LOSS, [W, b]))
STEP = {W: W + X}
GENERATOR = random.new_generator("rule", seed=0)

NAMES = {
    **{name: getattr(symupdates, name) for name in dir(symupdates) if not name.startswith("_")},
    **{"G": gradients, "C": constraints, "R": random, "S": schedules},
    **{"np": np, "pt": pt, "shared": pytensor.shared},
    **{"W": W, "b": b, "q": q, "X": X, "loss": LOSS, "u": UPDATES, "step": STEP, "rng": RNG, "whole": WHOLE},
    **{"sparse": SPARSE, "z": OUTPUTS, "generator": GENERATOR},
}

# A call, the error, and what its message has, notes included.
CASES = [
    # parameters
    ("sgd(loss, iter([]))", ValueError, "params is empty: .* list_iterator .* a list first"),
    ("sgd(loss, (p for p in [W] if p.ndim > 5))", ValueError, "params is empty: .* generator"),
    ("sgd(loss, map(str, []))", ValueError, "params is empty: .* map"),
    ("sgd(loss, filter(None, []))", ValueError, "params is empty: .* filter"),
    ("sgd(loss, {})", ValueError, "params is empty: .* dict"),
    ("sgd(loss, {}.values())", ValueError, "params is empty: .* dict_values"),
    ("sgd(loss, set())", ValueError, "params is empty: .* set"),
    ("get_or_compute_grads(loss, iter([]))", ValueError, "params is empty"),
    ("chain(sgd())(loss, iter([]))", ValueError, "params is empty"),
    ("partition((..., sgd()))(loss, iter([]))", ValueError, "params is empty"),
    ("accumulate(sgd())(loss, iter([]))", ValueError, "params is empty"),
    ("mechanic(sgd())(loss, iter([]))", ValueError, "params is empty"),
    ("apply_momentum(u, params=iter([]))", ValueError, "apply_momentum: params is empty"),
    ("G.add_l2([], iter([]))", ValueError, "add_l2: params is empty"),
    ("sgd(loss, W)", TypeError, r"params must be a list .* not W; write \[W\]"),
    ("sgd(loss, 3)", TypeError, "params must be a list .* not 3"),
    ("sgd(loss, 'W')", TypeError, "params must be a list .* not 'W'"),
    ("sgd(loss, np.ones(2))", TypeError, "params must be a list .* not array"),
    ("sgd(loss, [W, None])", ValueError, r"params\[1\] is None"),
    ("sgd(loss, [W, 'b'])", ValueError, r"params\[1\] is 'b'"),
    ("sgd(loss, [[W]])", ValueError, r"params\[0\] is \[W\]"),
    ("sgd(loss, [X])", ValueError, r"params\[0\] is X"),
    ("sgd(loss, [W, W])", ValueError, "duplicate"),
    ("sgd(loss, [W, whole])", TypeError, "parameter whole cannot be trained: its dtype is int64"),
    ("sgd(loss, [W, rng])", TypeError, "parameter rng cannot be trained: it is a random generator"),
    ("sgd(loss, [W, sparse])", TypeError, "parameter sparse cannot be trained"),
    ("sgd(loss, [shared('x', name='thing')])", TypeError, "parameter thing cannot be trained"),
    ("sgd(loss, [W, q])", ValueError, "does not depend on q"),
    # the loss and gradients
    ("sgd('x', [W])", TypeError, "the loss must be .* got 'x'"),
    ("sgd(1.0, [W])", TypeError, "the loss must be .* got 1.0"),
    ("sgd(z, [W])", ValueError, "the loss must be a scalar.* loss.mean.* or give a list or tuple of gradients"),
    ("sgd({W: W}, [W])", TypeError, "the loss must be .* got {W: W}"),
    ("sgd(iter([W]), [W])", TypeError, "the loss must be .*list_iterator"),
    ("sgd(pt.lscalar(), [W])", TypeError, "the loss must be real and continuous"),
    ("sgd([True], [q])", TypeError, "gradient of q must be a dense tensor variable, not True"),
    ("sgd([np.True_], [q])", TypeError, "gradient of q .* boolean|gradient of q .*True"),
    ("sgd([q > 0], [q])", TypeError, "gradient of q is boolean"),
    ("sgd([W > 0], [W])", TypeError, "gradient of W is boolean"),
    ("sgd(['g'], [W])", TypeError, r"gradient of W .* 'g' \(str\)"),
    ("sgd([object()], [W])", TypeError, "gradient of W .* object"),
    ("sgd([np.array(['g', 'h'])], [b])", TypeError, "gradient of b .*ndarray"),
    ("sgd([np.array([None, None])], [b])", TypeError, "gradient of b .*ndarray"),
    ("sgd([1j], [q])", TypeError, "gradient of q is complex"),
    ("sgd([None], [q])", ValueError, "gradient of q is None"),
    ("sgd([sparse], [W])", TypeError, "gradient of W must be a dense"),
    ("sgd([rng], [W])", TypeError, "gradient of W must be a dense"),
    ("sgd([10**30], [q])", TypeError, "gradient of q"),
    ("sgd([W], [W, b])", ValueError, "got 1 gradient expressions for 2 parameters"),
    ("sgd([W, W], [W, b])", ValueError, "gradient of b has shape"),
    ("get_or_compute_grads(None, [W])", TypeError, "the loss must be .* got None"),
    ("sam([W], [W])", TypeError, "sam takes the loss"),
    ("gauss_newton(loss, [W])", TypeError, "gauss_newton: outputs must be given"),
    ("gauss_newton(loss, [W], outputs=[])", TypeError, "gauss_newton: outputs must be given"),
    ("gauss_newton(loss, [W], outputs=[z, 'x'])", TypeError, "gauss_newton: outputs must be given"),
    ("gauss_newton(loss, [W], outputs=X)", ValueError, r"gauss_newton: the loss does not depend on outputs\[0\], X"),
    ("levenberg_marquardt(loss, [W], outputs=whole)", TypeError, r"outputs\[0\] must be a dense"),
    ("natural_gradient(loss, [W])", TypeError, "natural_gradient: divergence must be given"),
    ("natural_gradient(loss, [W], divergence=z)", ValueError, "natural_gradient: divergence must be a scalar"),
    ("natural_gradient(loss, [W], divergence=rng)", TypeError, "natural_gradient: divergence must be"),
    ("natural_gradient(loss, [W], divergence=0.0)", TypeError, "natural_gradient: divergence must be"),
    ("sophia_g(loss, [W])", TypeError, "sophia_g: logits must be a dense tensor variable of float dtype, not None"),
    ("sophia_g(loss, [W], logits=X)", ValueError, "sophia_g: the logits, X, do not depend on the parameters"),
    # values of the loss only
    ("spsa([W], [W])", TypeError, "spsa takes the loss"),
    ("spsa(z, [W])", ValueError, "the loss must be a scalar.* loss.mean"),
    ("spsa(1.0, [W])", TypeError, "the loss must be a scalar tensor variable; got 1.0"),
    ("spsa(pt.zscalar(), [W])", TypeError, "the loss must be real, but .* complex128"),
    ("mezo(loss, [W, q])", ValueError, "the loss does not depend on q: take them out"),
    ("mezo(pt.lscalar(), [W])", ValueError, "the loss does not depend on W"),
    ("spsa(loss, [W, W])", ValueError, "duplicate"),
    ("spsa(loss, [whole])", TypeError, "parameter whole cannot be trained: its dtype is int64"),
    ("spsa(loss, [W], perturbation=0.0)", ValueError, "spsa: perturbation must be finite and above 0, but it is 0.0"),
    ("mezo(loss, [W], samples=0)", ValueError, "mezo: samples must be a whole number of at least 1, not 0"),
    ("mezo(loss, [W], seed=-1)", ValueError, "mezo: seed must not be negative"),
    ("mezo(loss, [W], optimizer='adam')", TypeError, "mezo: optimizer must be a rule"),
    ("chain(G.clip_by_norm(), spsa())(loss, [W])", TypeError, "spsa takes the loss.* go into the rule that makes"),
    # lists of gradients
    ("G.clip_by_total_norm(X)", TypeError, r"clip_by_total_norm: grads must be a list .* not X; write \[X\]"),
    ("G.clip_by_total_norm(W, 1.0, True)", TypeError, "clip_by_total_norm: grads must be a list"),
    ("G.clip_by_norm(3)", TypeError, "clip_by_norm: grads must be a list .* not 3"),
    ("G.clip_by_value('abc')", TypeError, "clip_by_value: grads must be a list"),
    ("G.normalize(np.ones(3))", TypeError, "normalize: grads must be a list"),
    ("G.sign({W: W})", TypeError, r"sign: grads must be a list .* in order"),
    ("G.zero_nans({W, b})", TypeError, "zero_nans: grads must be a list .* in order"),
    ("G.centralize(iter([]))", ValueError, "centralize: grads is empty"),
    ("G.clip_by_norm([True])", TypeError, r"clip_by_norm: grads\[0\] .* True"),
    ("G.clip_by_norm([W, 'g'])", TypeError, r"clip_by_norm: grads\[1\] .* 'g'"),
    ("G.clip_by_norm([None])", TypeError, r"clip_by_norm: grads\[0\] .* None"),
    ("G.clip_by_norm([object()])", TypeError, r"clip_by_norm: grads\[0\] .* object"),
    ("G.clip_by_norm([whole])", TypeError, r"clip_by_norm: grads\[0\] .* float dtype"),
    ("G.clip_by_norm([sparse])", TypeError, r"clip_by_norm: grads\[0\] .* dense"),
    ("total_norm_constraint(X, 1.0)", TypeError, r"total_norm_constraint: tensor_vars must be a list .* write \[X\]"),
    ("total_norm_constraint(None, 1.0)", TypeError, "total_norm_constraint: tensor_vars must be a list .* None"),
    ("total_norm_constraint(iter([]), 1.0)", ValueError, "total_norm_constraint: tensor_vars is empty"),
    ("G.add_l2([W], W)", TypeError, r"add_l2: params must be a list .* write \[W\]"),
    ("G.add_l1([W], [W, b])", ValueError, "add_l1: got 1 gradients for 2 parameters"),
    ("G.add_l2([W, b], [b, W])", ValueError, "gradient of b has shape .* same order"),
    ("G.clip_adaptively([W], [b])", ValueError, "gradient of b has shape"),
    # updates
    ("apply_ema({'W': W})", TypeError, "apply_ema: the keys of updates must be shared variables, but 'W' is not"),
    ("apply_ema({X: X})", TypeError, "apply_ema: the keys of updates must be shared variables, but X is not"),
    ("apply_ema({W: None})", TypeError, "apply_ema: the next value of W must be a variable, not None"),
    ("apply_ema({W: np.ones((3, 2))})", TypeError, "apply_ema: the next value of W .*array.* pytensor.tensor.constant"),
    ("apply_ema({W: W, b: 0.0}, params=[W])", TypeError, "apply_ema: the next value of b .* not 0.0"),
    ("apply_momentum([W])", TypeError, r"apply_momentum: updates must be a dict .* not \[W\]"),
    ("apply_freeze('updates')", TypeError, "apply_freeze: updates must be a dict"),
    ("apply_scale({W: pt.vector()})", ValueError, "the next value of W has shape"),
    ("apply_scale({W: sparse})", TypeError, "the next value of W must be a dense"),
    ("adjustable(3)", TypeError, "adjustable: updates must be a dict"),
    ("adjustable({W: None})", TypeError, "adjustable: the next value of W"),
    ("merge(3)", TypeError, "merge: updates must be a dict"),
    ("merge([u])", TypeError, "merge: updates must be a dict"),
    ("merge(u, {'W': W})", TypeError, "merge: the keys of updates .* 'W' is not"),
    ("merge({W: None})", TypeError, "merge: the next value of W"),
    ("merge({W: W}, {W: 2 * W})", ValueError, "more than one of the dicts updates W"),
    ("loop(None, [W], n_steps=2)", TypeError, "loop: updates must be a dict"),
    ("loop(None, {1: W}, n_steps=2)", TypeError, "loop: the keys of updates .* 1 is not"),
    ("loop(None, {W: None}, n_steps=2)", TypeError, "loop: the next value of W"),
    ("summary([W])", TypeError, r"summary: updates must be a dict .* not \[W\]"),
    ("summary(None)", TypeError, "summary: updates must be a dict"),
    ("summary({W: None})", TypeError, "summary: the next value of W"),
    ("hyperparameters([W])", TypeError, "hyperparameters: updates must be a dict"),
    ("hyperparameters({W: 1})", TypeError, "hyperparameters: the next value of W"),
    ("named(None)", TypeError, "updates must be"),
    ("named({1: 2})", TypeError, "the keys of updates .* 1 is not"),
    ("named({W: None})", TypeError, "the next value of W"),
    ("state_dict(None)", TypeError, "state_dict: updates must be"),
    ("state_dict({'W': W})", TypeError, "state_dict: the keys of updates .* 'W' is not"),
    ("state_dict(dict.fromkeys([W]))", TypeError, r"state_dict: the next value of W .*list\(\.\.\.\) of the dict"),
    ("save('nowhere', dict.fromkeys([W]))", TypeError, r"save: the next value of W .*list\(\.\.\.\) of the dict"),
    ("load_state_dict(dict.fromkeys([W]), {'W': 1})", TypeError, "load_state_dict: the next value of W"),
    ("reset(None)", TypeError, "reset: updates must be .* not None"),
    ("reset({1: 2})", TypeError, "reset: the keys of updates .* 1 is not"),
    ("reset(W)", TypeError, "reset: updates must be .* not W"),
    ("reset(iter([]))", ValueError, "reset: updates is empty"),
    ("averages({1: 2})", TypeError, "averages: the keys of updates .* 1 is not"),
    ("averages(3)", TypeError, "averages: updates must be .* not 3"),
    ("averages(sgd(loss, [W]))", ValueError, "keep no averages"),
    ("swap_averages(None)", TypeError, "averages: updates must be .* not None"),
    ("to_numpy([1])", TypeError, "to_numpy: the keys of updates .* 1 is not"),
    ("to_numpy(None)", TypeError, "to_numpy: updates must be .* not None"),
    ("to_numpy({W: None})", TypeError, "to_numpy: the next value of W"),
    ("to_numpy(iter([]))", ValueError, "to_numpy: updates is empty"),
    ("load_state_dict(u, None)", TypeError, "load_state_dict: state must be a dict of names and arrays, not None"),
    ("load_state_dict(u, [1])", TypeError, r"load_state_dict: state must be a dict .* not \[1\]"),
    ("load_state_dict(u, {})", ValueError, "W/adam/m is missing"),
    ("load_state_dict(u, state_dict(u), strict='no')", TypeError, "load_state_dict: strict must be True or False"),
    ("load_state_dict(None, {})", TypeError, "load_state_dict: updates must be .* not None"),
    ("load('nowhere', u, strict=None)", TypeError, "load: strict must be True or False"),
    ("load(None, u)", TypeError, "not NoneType"),
    ("save(None, u)", TypeError, "not NoneType"),
    ("save('nowhere', None)", TypeError, "save: updates must be .* not None"),
    ("save('nowhere', {'W': 1})", TypeError, "save: W must be a shared variable, not 1"),
    # selectors
    ("apply_momentum(u, params=W)", TypeError, r"apply_momentum: params must be a list .* not W; write \[W\]"),
    ("apply_momentum(u, params=3)", TypeError, "apply_momentum: params must be a list .* not 3"),
    (
        "apply_momentum(u, params=['W'])",
        ValueError,
        r"apply_momentum: params must contain shared .* params\[0\] is 'W'",
    ),
    ("apply_momentum(u, params=[q])", ValueError, "apply_momentum: q not among the updates"),
    ("apply_freeze(u, params='^V')", ValueError, r"apply_freeze: params: the pattern '\^V' fits none .* W, b|b, W"),
    ("apply_freeze(u, params='W/adam/m')", ValueError, "apply_freeze: params: the pattern 'W/adam/m' fits none"),
    ("apply_freeze(u, params='*')", ValueError, r"apply_freeze: params: '\*' is not a regular expression"),
    ("apply_scale(u, params=lambda p: False)", ValueError, "apply_scale: params: the function <lambda> selects none"),
    ("apply_scale(u, params=lambda: True)", TypeError, "function of apply_scale: params, called with the parameter W"),
    ("apply_scale(u, params=lambda p: p > 0)", TypeError, "function of apply_scale: params.* must return a bool"),
    ("apply_scale(u, params=lambda p: p.nme)", AttributeError, "function of apply_scale: params"),
    (
        "partition(('(', sgd()))",
        ValueError,
        r"partition: the selector of groups\[0\]: '\(' is not a regular expression",
    ),
    ("partition((..., sgd()), (W, sgd()))", TypeError, r"groups\[1\] must be a list .* not W; write \[W\]"),
    ("partition((None, sgd()))", TypeError, r"partition: the selector of groups\[0\] must be a list .* not None"),
    ("partition(([np.ones(2)], sgd()))", ValueError, r"partition: the selector of groups\[0\] must contain shared"),
    ("partition((iter([]), sgd()))", ValueError, r"partition: the selector of groups\[0\] is empty"),
    ("partition(small=('(', sgd()))", ValueError, r"partition: the selector of groups\['small'\]"),
    ("partition(('W', 'sgd'))", TypeError, r"partition: groups\[0\] must be a pair"),
    ("partition(sgd())", TypeError, r"partition: groups\[0\] must be a pair"),
    (
        "partition(('^cnv', sgd()), (..., None))(loss, [W, b])",
        ValueError,
        r"groups\[0\]: the pattern '\^cnv' fits none",
    ),
    (
        "partition((lambda p: 0, sgd()), (..., None))(loss, [W])",
        ValueError,
        r"groups\[0\]: the function <lambda> selects",
    ),
    (
        "partition(('W', sgd()), ('W', None), (..., None))(loss, [W])",
        ValueError,
        r"groups\[1\] selects only .* W in groups\[0\]",
    ),
    ("partition((..., sgd()), ([b], None))(loss, [W, b])", ValueError, r"groups\[1\] selects only .* b in groups\[0\]"),
    ("partition(([q], sgd()), (..., None))(loss, [W])", ValueError, r"groups\[0\] has q, not among the parameters W"),
    ("partition(('b', sgd()))(loss, [W, b])", ValueError, "partition: no group has W; add"),
    # seeds
    ("G.add_noise([W], seed=-1)", ValueError, "add_noise: seed must not be negative, but it is -1"),
    ("G.add_noise([W], seed=True)", TypeError, "add_noise: seed must be a whole number.* not True"),
    ("G.add_noise([W], seed=1.5)", TypeError, "add_noise: seed must be a whole number.* not 1.5"),
    ("G.add_noise([W], seed='1')", TypeError, "add_noise: seed must be a whole number.* not '1'"),
    ("G.add_noise([W], seed=[1, -1])", ValueError, r"add_noise: seed must not be negative, but it is \[1, -1\]"),
    ("G.add_noise([W], seed=[1, True])", TypeError, "add_noise: seed"),
    ("sgld(loss, [W], seed=-1)", ValueError, "sgld: seed must not be negative"),
    ("psgld(loss, [W], seed=True)", TypeError, "psgld: seed"),
    ("sghmc(loss, [W], seed=W)", TypeError, "sghmc: seed"),
    ("sgnht(loss, [W], seed=np.random.default_rng(0))", TypeError, "sgnht: seed"),
    ("spam(loss, [W], delay=0)", ValueError, "spam: delay must be a whole number of at least 1"),
    ("spam(loss, [W], threshold=-1.0)", ValueError, "spam: threshold must be finite and at least 0"),
    ("psgd_kron(loss, [W], seed=1.5)", TypeError, "psgd_kron: seed"),
    ("psgd_kron(loss, [W], preconditioner_rate=1.5)", ValueError, "psgd_kron: preconditioner_rate must be at least 0"),
    ("sgnht(loss, [W], per_element='each')", TypeError, "sgnht: per_element"),
    ("scale_adapted_sghmc(loss, [W], burn_in=-1)", ValueError, "scale_adapted_sghmc: burn_in must be a whole number"),
    ("noisy_sgd(loss, [W], seed={})", TypeError, "noisy_sgd: seed"),
    ("adahessian(loss, [W], seed=-1)", ValueError, "adahessian: seed"),
    ("sophia_h(loss, [W], seed=True)", TypeError, "sophia_h: seed"),
    ("esgd(loss, [W], seed='x')", TypeError, "esgd: seed"),
    ("ivon(loss, [W], seed=True)", TypeError, "ivon: seed"),
    ("ivon(loss, [W], samples=0)", ValueError, "ivon: samples must be a whole number of at least 1"),
    ("ivon(loss, [W], initial_hessian=0.0)", ValueError, "ivon: initial_hessian must be finite and above 0"),
    ("ivon(loss, [W], effective_sample_size=0.0)", ValueError, "ivon: effective_sample_size must be finite and above"),
    ("R.new_generator('mine', seed=-1)", ValueError, "mine: seed must not be negative"),
    ("R.new_generator(None)", TypeError, "new_generator: rule must be"),
    ("R.normal(None, W)", TypeError, "normal: generator must be what new_generator made, not None"),
    ("R.normal(generator, None)", TypeError, "normal: x must be a dense tensor variable of float dtype"),
    ("R.normal(generator, W, stream=-1)", ValueError, "normal: stream must be a whole number"),
    ("R.rademacher(W, W)", TypeError, "rademacher: generator"),
    ("R.categorical(generator, 0.5)", ValueError, "categorical: logits must have a last axis"),
    ("R.normals(None)", TypeError, "normals: step must be"),
    ("R.threefry(None, 2, 3, 4)", TypeError, "threefry: key0"),
    # whole numbers and flags
    ("accumulate(sgd(), every=10**30)", ValueError, "accumulate: every must fit into an int64"),
    ("accumulate(sgd(), every=0)", ValueError, "accumulate: every must be a whole number"),
    ("accumulate(sgd(), every=True)", ValueError, "accumulate: every must be a whole number"),
    ("accumulate(sgd(), mean='no')", TypeError, "accumulate: mean must be True or False, not 'no'"),
    ("accumulate(3)", TypeError, "accumulate: optimizer must be a rule"),
    ("apply_lookahead(u, every=10**30)", ValueError, "apply_lookahead: every must fit into an int64"),
    ("apply_polyak_average(u, begin=2**63)", ValueError, "apply_polyak_average: begin must fit into an int64"),
    ("apply_if_finite(u, limit=10**30)", ValueError, "apply_if_finite: limit must fit into an int64"),
    ("apply_if_finite(u, limit=W)", ValueError, "apply_if_finite: limit must be a whole number"),
    ("apply_if_finite(u, params=[], limit=3)", ValueError, "apply_if_finite: params has no parameters to look at"),
    ("apply_if_small(u, params=())", ValueError, "apply_if_small: params has no parameters to look at"),
    ("esgd(loss, [W], every=10**30)", ValueError, "esgd: every must fit into an int64"),
    ("shampoo(loss, [W], every=1.5)", ValueError, "shampoo: every must be a whole number"),
    ("adagrad_window(loss, [W], n_win=True)", ValueError, "adagrad_window: n_win must be a whole number"),
    ("adagrad_window(loss, [W], n_win=10**30)", ValueError, "adagrad_window: n_win must fit into an int64"),
    ("S.linear(0.1, 0.0, 10**30)", ValueError, "linear: steps must fit into an int64"),
    ("apply_ema(u, debias='no')", TypeError, "apply_ema: debias must be True or False"),
    ("apply_ema(u, debias=W)", TypeError, "apply_ema: debias must be True or False"),
    ("G.clip_by_total_norm([W], return_norm='x')", TypeError, "clip_by_total_norm: return_norm must be True or False"),
    (
        "total_norm_constraint([W], 1.0, return_norm=np.ones(2))",
        TypeError,
        "total_norm_constraint: return_norm must be",
    ),
    ("heavy_ball(loss, [W], nesterov=2)", TypeError, "heavy_ball: nesterov must be True or False"),
    ("muon(loss, [W], nesterov=None)", TypeError, "muon: nesterov must be True or False"),
    ("muon(loss, [W], consistent_rms='x')", TypeError, "muon: consistent_rms must be a real number"),
    ("muon(loss, [W], others=3)", TypeError, "muon: others must be a rule"),
    ("adafactor(loss, [W], relative_step=[])", TypeError, "adafactor: relative_step must be True or False"),
    ("barzilai_borwein(loss, [W], short='long')", TypeError, "barzilai_borwein: short must be True or False"),
    ("S.exponential_decay(0.1, 0.5, 3, staircase='yes')", TypeError, "exponential_decay: staircase must be True or"),
    ("S.inverse_time_decay(0.1, 0.5, staircase=None)", TypeError, "inverse_time_decay: staircase must be True or"),
    # hyper-parameters and schedules
    ("adam(loss, [W], 10**400)", TypeError, "adam: learning_rate must be a real number"),
    ("adam(loss, [W], 'x')", TypeError, "adam: learning_rate must be a real number.* not 'x'"),
    ("adam(loss, [W], None)", TypeError, "adam: learning_rate must be a real number.* not None"),
    ("adam(loss, [W], [0.1])", ValueError, "adam: learning_rate must be a scalar"),
    ("adam(loss, [W], beta1=rng)", ValueError, "adam: beta1 must be a scalar"),
    ("adam(loss, [W], lambda t: None)", TypeError, "value of the schedule of adam: learning_rate"),
    ("adam(loss, [W], lambda: 0.1)", TypeError, "Raised by the schedule of adam: learning_rate"),
    ("adam(loss, [W], S.linear)", TypeError, "Raised by the schedule of adam: learning_rate"),
    ("S.linear(0.1, 0.0, 10)(None)", TypeError, "the step of a schedule must be an integer"),
    ("S.linear(0.1, 0.0, 10)('x')", TypeError, "the step of a schedule must be an integer"),
    ("S.linear(b, 0.0, 10)", TypeError, "linear: initial must be a real number or a scalar variable"),
    ("S.warmup(lambda t: None, 10)(30)", TypeError, "warmup: schedule must return real numbers.*None"),
    ("S.warmup(lambda t: 'x', 10)(30)", TypeError, "warmup: schedule must return real numbers.*'x'"),
    ("S.warmup(lambda: 1.0, 10)(30)", TypeError, "Raised by warmup: schedule"),
    ("S.join(None, [3])", TypeError, "join: schedules must be a list"),
    ("S.join([0.1, 'x'], [3])", TypeError, r"join: schedules\[1\] must be"),
    ("S.one_cycle(0.1, 100, kind=np.ones(2))", ValueError, "one_cycle: kind must be one of"),
    ("S.cyclic(0.1, 0.2, 3, mode=[1])", ValueError, "cyclic: mode must be one of"),
    ("S.reduce_on_plateau(0.1, 3.0)", TypeError, "reduce_on_plateau: loss must be a scalar variable"),
    ("S.reduce_on_plateau(0.1, W)", TypeError, "reduce_on_plateau: loss"),
    # loops
    ("loop(3.0, u, n_steps=2)", TypeError, "loop: outputs must be a list .* not 3.0"),
    ("loop(0, u, n_steps=2)", TypeError, "loop: outputs must be a list .* not 0"),
    ("loop('x', u, n_steps=2)", TypeError, "loop: outputs must be a list .* not 'x'"),
    ("loop({W: W}, u, n_steps=2)", TypeError, "loop: outputs must be a list .* in order"),
    ("loop([None], u, n_steps=2)", TypeError, "loop: the outputs must be dense tensor variables.* None is not"),
    ("loop(iter([]), u, n_steps=2)", ValueError, "loop: outputs is empty"),
    ("loop(loss, step, sequences=[X])", TypeError, r"loop: sequences must be a dict .* not \[X\]"),
    ("loop(loss, step, sequences=3)", TypeError, "loop: sequences must be a dict .* not 3"),
    ("loop(loss, step, {'X': X})", TypeError, "loop: sequences: the keys .* 'X' is not"),
    ("loop(loss, step, {X: None})", TypeError, "loop: sequences: what is given for X must be a dense .* None"),
    ("loop(loss, step, {X: 'x'})", TypeError, "loop: sequences: what is given for X must be a dense .* 'x'"),
    ("loop(loss, step, {X: [1, [2]]})", TypeError, "loop: sequences: what is given for X must be a dense"),
    ("loop(loss, step, {X: 1.0})", ValueError, "loop: sequences: X has shape"),
    ("loop(loss, u, n_steps=10**30)", ValueError, "loop: n_steps must fit into an int64"),
    ("loop(loss, u, n_steps=1.5)", ValueError, "loop: n_steps must be a whole number"),
    ("loop(loss, u, n_steps=W)", TypeError, "loop: n_steps must be a number or an integer scalar"),
    ("loop(loss, u)", ValueError, "loop: how many steps"),
    # stages and optimizers
    ("chain(None)", TypeError, "a stage of a chain .* not None"),
    ("chain([sgd()])", TypeError, "a stage of a chain"),
    ("chain()", ValueError, "got nothing"),
    ("chain(lambda grads: None, sgd())(loss, [W])", TypeError, r"chain: stages\[0\], <lambda>, returned None"),
    ("chain(lambda grads: 1 / 0, sgd())(loss, [W])", ZeroDivisionError, r"Raised by chain: stages\[0\], <lambda>"),
    (
        "chain(sgd(), lambda updates: {1: 2})(loss, [W])",
        TypeError,
        r"chain: stages\[1\], <lambda>: the keys of updates",
    ),
    ("accumulate(lambda g, p: {1: 2})(loss, [W])", TypeError, "accumulate: optimizer, <lambda>: the keys of updates"),
    ("mechanic(lambda g, p: {})(loss, [W])", ValueError, "mechanic: W not among the updates"),
    ("mechanic(None)", TypeError, "mechanic: optimizer must be a rule"),
    ("sam(loss, [W], optimizer=lambda: None)", TypeError, "Raised by sam: optimizer, <lambda>"),
    ("sam(loss, [W], optimizer='adam')", TypeError, "sam: optimizer must be a rule"),
    ("sgd(loss, [W], lr=0.1)", TypeError, "sgd has no argument lr"),
    ("sgd(loss)", ValueError, "sgd: params missing"),
    # projections, axes, rows
    ("apply_projection(u, projection=3)", TypeError, "apply_projection: projection must be a function"),
    ("apply_projection(u, projection=lambda: 3)", TypeError, "projection of apply_projection, called with .* W"),
    ("apply_projection(u, projection=lambda p: None)", TypeError, "next value of W .* None.*projection of apply_proj"),
    ("apply_projection(u, projection=lambda p: p.sum())", ValueError, "next value of W has shape"),
    ("C.box('x')", TypeError, "box: x must be a dense tensor variable of float dtype, not 'x'"),
    ("C.box(W, low='x')", TypeError, "box: low must be a real number"),
    ("C.non_negative(whole)", TypeError, "non_negative: x must be a dense"),
    ("C.unit_norm(W, axes='x')", TypeError, "unit_norm: axes must be a list .* not 'x'"),
    ("C.max_norm(W, axes=1.5)", TypeError, "max_norm: axes must be a list .* not 1.5"),
    ("C.l2_ball(W, axes=[None])", TypeError, "l2_ball: axes must be a whole number"),
    ("C.l2_ball(W, axes=2)", ValueError, "l2_ball: axes: there is no axis 2; W has 2 dimension"),
    ("C.l2_ball(W, axes=10**30)", ValueError, "l2_ball: axes: there is no axis"),
    ("C.l1_ball(W, axis='x')", TypeError, "l1_ball: axis must be a whole number"),
    ("C.l1_ball(W, axis=[0])", TypeError, "l1_ball: axis must be a whole number"),
    ("C.simplex(W, axis=-3)", ValueError, "simplex: axis: there is no axis -3"),
    ("C.simplex(W, axis=True)", TypeError, "simplex: axis must be a whole number"),
    ("norm_constraint(W, 1.0, norm_axes=5)", ValueError, "norm_constraint: norm_axes: there is no axis 5"),
    ("norm_constraint(W, 1.0, norm_axes=(0, -2))", ValueError, "norm_constraint: norm_axes has an axis twice"),
    ("norm_constraint(W, 1.0, norm_axes=iter([]))", ValueError, "norm_constraint: norm_axes is empty"),
    ("norm_constraint(W, 1.0, norm_axes=W)", TypeError, "norm_constraint: norm_axes must be a list"),
    ("norm_constraint(object(), 1.0)", TypeError, "norm_constraint: tensor_var must be a dense"),
    ("rows(3, [1])", TypeError, "rows: the table must be a shared dense tensor, not 3"),
    ("rows(q, [1])", ValueError, "rows: q is a scalar"),
    ("rows(W, None)", TypeError, "rows: the index must be a dense tensor variable, not None"),
    ("rows(W, 'a')", TypeError, "rows: the index must be a dense tensor variable, not 'a'"),
    ("rows(W, [0.5])", TypeError, "rows: the index must be of integers"),
    ("rows(W, [[1], [1, 2]])", TypeError, "rows: the index must be a dense tensor variable"),
    ("rows(W, 10**30)", TypeError, "rows: the index must be a dense tensor variable"),
]


@pytest.mark.once
@pytest.mark.parametrize(("call", "error", "words"), CASES, ids=[call for call, *_ in CASES])
def test_wrong_input(call, error, words):
    with pytest.raises(error, match=f"(?s){words}") as caught:
        eval(call, dict(NAMES))
    assert caught.type is error


# What fits, for every argument that has to be given; and what fits hardly any.
RIGHT = {
    "loss_or_grads": LOSS,
    "params": [W, b],
    "updates": UPDATES,
    "grads": [W, b],
    "tensor_vars": [W, b],
    "tensor_var": W,
    "x": W,
    "optimizer": symupdates.sgd,
    "outputs": [OUTPUTS],
    "divergence": LOSS,
    "logits": OUTPUTS,
    "max_norm": 1.0,
    "table": W,
    "index": [0, 1],
    **{"initial": 0.1, "final": 0.0, "steps": 5, "rate": 0.5, "schedule": 0.1, "loss": LOSS, "peak": 0.1, "value": 0.1},
    **{"warmup": 3, "stable": 3, "decay": 3, "period": 4, "half_period": 3, "step_size": 3, "low": 0.1, "high": 0.2},
    **{"boundaries": [3, 5], "values": [0.1, 0.2, 0.3], "schedules": [0.1, 0.2, 0.3], "generator": GENERATOR},
    **dict.fromkeys(["key0", "key1", "counter0", "counter1"], np.uint32(1)),
}
WRONG = ["x", object(), [None], X, RNG, SPARSE, lambda: None]
OTHERS = {"chain", "partition", "merge", "loop", "load", "load_state_dict", "save"}  # of another form, or in files
FUNCTIONS = {
    f"{module.__name__.removeprefix('symupdates.')}.{name}": function
    for module in (symupdates, gradients, constraints, schedules, random)
    for name in (dir(symupdates) if module is symupdates else module.__all__)
    if callable(function := getattr(module, name)) and not name.startswith("_")
    if name not in OTHERS | {"Schedule", "new_generator", "normals"}
}


@pytest.mark.ci
@pytest.mark.once
@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_is_given(name):
    """Each wrong value for each argument: taken, or refused by a message that names the function or the argument."""
    function = FUNCTIONS[name]
    arguments = signature(function).parameters
    right = {a: RIGHT[a] for a, q in arguments.items() if a in RIGHT and (q.default is q.empty or q.default is None)}
    if "updates" in right:
        right.pop("params", None)
    for argument in arguments:
        for value in WRONG:
            try:
                function(**right | {argument: value})
            except (TypeError, ValueError) as error:
                told = " ".join([str(error), *getattr(error, "__notes__", ())])
                words = {name.split(".")[-1], argument, argument.rstrip("s"), *(["gradient"] * (argument == "grads"))}
                words |= {"loss", "gradient"} if argument == "loss_or_grads" else set()
                assert any(word in told for word in words), f"{argument}={value!r}: {told}"
