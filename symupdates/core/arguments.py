"""What an argument that a function does not have was meant to be."""

from difflib import get_close_matches

DECOUPLED = (
    "Decay beside the step of any rule: apply_weight_decay(weight_decay=...) after it; as a part of the gradient: "
    "gradients.add_l2(coefficient=...) before it. adamw and some others have it built in."
)
SCHEDULE = "A learning rate that changes is a schedule: learning_rate=schedules.cosine_decay(0.01, 10_000)."
ACCELERATED = (
    "Momentum for the steps of any rule: apply_momentum(momentum=...) after it; of gradient descent: momentum()."
)
NESTEROV = (
    "Nesterov momentum for the steps of any rule: apply_nesterov_momentum(momentum=...) after it; in gradient descent: "
    "nesterov_momentum(); in Adam: nadam()."
)
CLIPPED = "before a rule, in a chain: gradients."
EMA = "An average of the parameters: apply_ema(decay=...) after the rule, in a chain."
ACCUMULATED = "Several minibatches for one update: accumulate(optimizer, every=...)."
COMPILED = "How it is computed is told to pytensor.function(..., mode=...)."

# Names that other libraries (torch, keras, optax, Lasagne, PyMC) or another function of ours have for an argument; what
# ours may be called, of which those that the function has are meant; and what does it where it is no argument.
FACTS = [
    ("lr eta step_size stepsize base_lr init_lr", "learning_rate max_learning_rate", ""),
    (
        "learning_rate",
        "max_learning_rate",
        "It is for the rule that makes the step, such as sgd(learning_rate=...).",
    ),
    ("alpha", "rho learning_rate", ""),
    ("beta_1 b1 beta1", "beta1 beta momentum", ""),
    ("beta_2 b2 beta2", "beta2 rho", ""),
    ("beta_3 b3", "beta3", ""),
    ("betas", "beta1 beta2 beta3", ""),
    ("beta", "beta1 momentum rho", ""),
    ("rho", "beta2", ""),
    ("eps delta epsilon", "epsilon epsilon1 epsilon2", ""),
    ("momentum mu", "momentum beta1 beta", ACCELERATED),
    ("nesterov use_nesterov", "", NESTEROV),
    ("dampening", "", "heavy_ball() has it."),
    ("weight_decay wd decoupled_weight_decay weight_decay_rate", "weight_decay", DECOUPLED),
    ("l2 l2_regularization l2_regularization_strength", "l2", DECOUPLED),
    ("l1 l1_regularization_strength", "l1", "An L1 penalty of any rule: gradients.add_l1(coefficient=...) before it."),
    ("decay", "rho", SCHEDULE),
    ("lr_decay learning_rate_decay decay_rate decay_steps schedule lr_schedule scheduler lr_scheduler", "", SCHEDULE),
    ("clipnorm clip_norm", "max_norm", f"Clipping of each gradient, {CLIPPED}clip_by_norm(max_norm=...)."),
    ("clipvalue clip_value", "limit", f"Clipping of each element, {CLIPPED}clip_by_value(limit=...)."),
    (
        "global_clipnorm max_grad_norm gradient_clip grad_clip clip_grad_norm max_norm",
        "max_norm",
        f"Clipping of all gradients together, {CLIPPED}clip_by_total_norm(max_norm=...).",
    ),
    ("ema ema_decay ema_momentum use_ema polyak_decay", "decay", EMA),
    ("amsgrad", "", "It is a rule: amsgrad()."),
    ("centered", "", "It is a rule: centered_rmsprop()."),
    ("initial_accumulator_value", "initial_accumulator", ""),
    ("ess n_data data_size", "effective_sample_size", ""),
    ("hess_init", "initial_hessian", ""),
    ("mc_samples n_samples", "samples", ""),
    ("gradient_accumulation_steps accumulation_steps every_k_schedule accumulate_grad_batches", "", ACCUMULATED),
    ("maximize", "", "To maximise an objective, give its negative as the loss."),
    ("fused foreach capturable jit_compile", "", COMPILED),
    ("loss cost objective grads gradients loss_or_grads", "loss_or_grads grads", ""),
    ("parameters weights variables trainable_variables model_params wrt", "params", ""),
    ("random_seed random_state rng key", "seed", ""),
]


def explained(error, function, signature, keywords):
    """The words of a TypeError for a call that did not bind to a signature: which function it is, and the way out."""
    names = [p.name for p in signature.parameters.values() if p.default is not p.empty]
    unknown = [name for name in keywords if name not in signature.parameters]
    if not unknown:
        return f"{function}: {error}. It takes {', '.join(names)}, in this order."
    hints = [hint for name in unknown for hint in hints_of(name, names)]
    return " ".join([f"{function} has no argument {', '.join(unknown)}.", *hints, f"It takes {', '.join(names)}."])


def hints_of(unknown, names):
    """What may have been meant by a name that is not among the names."""
    _, ours, elsewhere = next((fact for fact in FACTS if unknown in fact[0].split()), ("", "", ""))
    meant = [name for name in ours.split() if name in names] or get_close_matches(unknown, names, n=1)
    if meant:
        yield f"Did you mean {' or '.join(meant)}?"
    if elsewhere:
        yield elsewhere
