"""A script as a syntax tree, with what its names stand for, and what is to be said of it and done to it."""

from dataclasses import dataclass, field

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import (
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameSource,
    ScopeProvider,
)

from symupdates.port.facts import (
    EXPRESSIONS,
    LEGACY,
    NAMES,
    NDIM,
    OF_GRAPHS,
    PROBABILITIES,
    STREAMS,
    exists,
    is_under,
    row_of_gone,
    under_pytensor,
    under_theano,
)
from symupdates.port.finding import Finding
from symupdates.port.syntax import (
    Fill,
    closed,
    comments_in,
    leftmost,
    local_name,
    text_of,
    walk,
    without_last_semicolon,
)
from symupdates.theano.modules import TREE
from symupdates.theano.names import CHANGES

METHODS = set("reshape flatten dimshuffle transpose swapaxes sum argmax astype".split())
MOVES = {f"theano.tensor.{name}" for name in METHODS - {"sum", "argmax", "astype"}}


@dataclass
class Script:
    """A script, what is to be said of it, and what is to be done to it."""

    module: cst.Module
    findings: list = field(default_factory=list)
    plans: dict = field(default_factory=dict)

    def __post_init__(self):
        wrapper = MetadataWrapper(self.module)
        self.module = wrapper.module
        self.scopes = wrapper.resolve(ScopeProvider)
        self.positions = wrapper.resolve(PositionProvider)
        self.parents = wrapper.resolve(ParentNodeProvider)
        self.nodes = list(walk(self.module))
        self.imports = [node for node in self.nodes if isinstance(node, cst.Import | cst.ImportFrom)]
        self.references = [node for node in self.nodes if self.is_reference(node)]
        self.moved = set()  # references that no longer stand on the name that a legacy import bound
        self.staying = set()  # names at the beginning of references that stay Theano's
        self.lasagne_uses = {}  # for each name at the beginning of references, what of Lasagne they are
        self.written_for_graphs = any(self.is_legacy(line, OF_GRAPHS) for line in self.imports)
        self.says_pytensor = False  # whether something new begins with that name
        self.added = {}  # local names of imports to add, and their modules
        self.arguments = {node.name.value for node in self.nodes if isinstance(node, cst.Param)}
        self.called = set()
        self.helpers = {}  # functions to define, and their arguments and expressions
        self.words = {node.value for node in self.nodes if isinstance(node, cst.Name)}
        self.values = self.collect_values()
        self.returned = self.collect_returned()
        named = {self.imported(node) or "" for node in self.references}
        self.only_updates = all(is_under(name, "lasagne.updates") for name in named if is_under(name, "lasagne"))

    # --- What the names are -------------------------------------------------------------------------------------------

    def is_reference(self, node):
        """Whether it is a name, or the longest chain of attributes of one, that is read somewhere."""
        if not isinstance(node, cst.Name | cst.Attribute) or not isinstance(leftmost(node), cst.Name):
            return False
        parent = self.parents[node]
        if isinstance(parent, cst.Attribute | cst.ImportAlias | cst.Import | cst.ImportFrom | cst.AsName):
            return False
        named = parent.name if isinstance(parent, cst.Param) else getattr(parent, "keyword", None)
        return node is not named and leftmost(node) in self.scopes

    def imported(self, node, seen=()):
        """The full name of what an expression names, if that was imported: its legacy name, if it has one."""
        root = leftmost(node)
        if (module := self.module_assigned_to(root)) is not None and root.value not in seen:
            name = self.imported(module, (*seen, root.value))
            return name + text_of(node).removeprefix(root.value) if name is not None and self.is_prefix(name) else None
        names = self.scopes[root].get_qualified_names_for(node) if root in self.scopes else ()
        names = sorted(name.name for name in names if name.source is QualifiedNameSource.IMPORT)
        name = next((name for name in names if is_under(name, "theano")), names[0] if names else None)
        if name is not None and is_under(name, "pytensor") and not exists(name):
            name = under_theano(name)  # half ported: renamed by search and replace
        return name

    def module_assigned_to(self, node):
        """What a name stands for that is assigned once, as in ``T = theano.tensor``, or None."""
        bound = [*self.scopes[node][node.value]] if isinstance(node, cst.Name) and node in self.scopes else []
        target = getattr(bound[0], "node", None) if len(bound) == 1 else None
        if not isinstance(target, cst.Name) or target is node:
            return None
        assign = self.parents[self.parents[target]]
        return assign.value if isinstance(assign, cst.Assign) and self.is_reference(assign.value) else None

    def binds_theano(self, node):
        """Whether it is the name ``theano`` where ``import theano`` binds it, whatever else may."""
        parent = self.parents[node]
        scope = self.scopes.get(self.parents[parent] if isinstance(parent, cst.NameItem) else node)
        if node.value != "theano" or scope is None or (isinstance(parent, cst.Attribute) and parent.attr is node):
            return False
        bound = scope["theano"]
        names = [name for each in bound for name in each.get_qualified_names_for("theano")]
        return any((name.name, name.source) == ("theano", QualifiedNameSource.IMPORT) for name in names)

    def is_rebound(self, node):
        """Whether a name that was imported is something else too, None excepted, as after a failed import."""
        if not isinstance(node, cst.Name) or self.imported(node) is None or self.module_assigned_to(node) is not None:
            return False
        sources = {name.source for name in self.scopes[node].get_qualified_names_for(node)}
        values = [value and text_of(value) for value in self.values_of(node)]
        return sources != {QualifiedNameSource.IMPORT} and set(values) != {"None"}

    def means(self, local, full, near):
        """Whether a local name means that import where a reference stands, or if None, at the top."""
        bound = self.scopes[near or self.module][local]
        names = [name.name for each in bound for name in each.get_qualified_names_for(local)]
        return set(names) == {full}

    def function_of(self, call):
        return self.imported(call.func) if isinstance(leftmost(call.func), cst.Name) else None

    def collect_values(self):
        """For each variable, by its text, all that is assigned to it in the script."""
        values = {}
        for node in self.nodes:
            if isinstance(node, cst.Assign):
                targets, value = [target.target for target in node.targets], node.value
            elif isinstance(node, cst.AugAssign) or (isinstance(node, cst.AnnAssign) and node.value is not None):
                targets, value = [node.target], node.value
            else:
                continue
            for target in targets:
                parts = [e.value for e in target.elements] if isinstance(target, cst.Tuple | cst.List) else [target]
                for part in parts:
                    if name := get_full_name_for_node(part):
                        values.setdefault(name, []).append(value if part is target else None)
        return values

    def collect_returned(self):
        """For each function of the script, by its name and ``()``, all that it returns."""
        returned = {}
        for node in self.nodes:
            if isinstance(node, cst.Return) and node.value is not None:
                function = node
                while not isinstance(function, cst.FunctionDef):
                    function = self.parents[function]
                returned.setdefault(f"{function.name.value}()", []).append(node.value)
        return returned

    def values_of(self, node):
        return self.values.get(get_full_name_for_node(node) or "", [])

    def is_stream(self, node, makers=STREAMS, seen=()):
        """Whether it is a random stream for sure: made here, or a variable that is never anything else.

        In the place of one there may be None, or an argument whose default that is.
        """
        if isinstance(node, cst.Call):
            return self.function_of(node) in makers
        if isinstance(node, cst.IfExp):
            values = [node.body, node.orelse]
        elif isinstance(node, cst.BooleanOperation):
            values = [node.left, node.right]
        elif isinstance(node, cst.Name | cst.Attribute) and False not in self.defaults_to_none(node):
            name = get_full_name_for_node(node)
            values, seen = (self.values.get(name, ()) if name not in seen else ()), (*seen, name)
        else:
            return False
        values = [v for v in values if v is None or not self.is_none(v)]
        return bool(values) and all(v is not None and self.is_stream(v, makers, seen) for v in values)

    def is_none(self, node):
        """Whether it is None, or an argument whose default that is and that is given nothing else."""
        given = get_full_name_for_node(node) in self.values
        return text_of(node) == "None" or (not given and True in self.defaults_to_none(node))

    def defaults_to_none(self, node):
        """For each argument of the functions around it that it can be: whether its default is None."""
        bound = self.scopes[node][node.value] if isinstance(node, cst.Name) and node in self.scopes else ()
        params = [each.node for each in bound if isinstance(getattr(each, "node", None), cst.Param)]
        return {param.default is not None and text_of(param.default) == "None" for param in params}

    def is_symbolic(self, node, seen=()):
        """Whether it is a symbolic variable, as far as the syntax tells."""
        if isinstance(node, cst.Call):
            name = under_theano(self.function_of(node) or "")
            if is_under(name, "theano.tensor"):
                return name.rpartition(".")[2] not in {"TensorType", "grad", "RandomStream", "RandomStreams"}
            if name == "theano.shared":
                return True
            method = node.func.attr.value if isinstance(node.func, cst.Attribute) else "get_value"
            return not name and method not in {"get_value", "eval"} and self.is_symbolic(node.func.value, seen)
        if isinstance(node, cst.BinaryOperation):
            return self.is_symbolic(node.left, seen) or self.is_symbolic(node.right, seen)
        if isinstance(node, cst.Comparison):
            ordered = all(
                isinstance(part.operator, cst.LessThan | cst.GreaterThan | cst.LessThanEqual | cst.GreaterThanEqual)
                for part in node.comparisons
            )
            return ordered and self.is_symbolic(node.left, seen)
        if isinstance(node, cst.UnaryOperation):
            return self.is_symbolic(node.expression, seen)
        if isinstance(node, cst.Subscript):
            return self.is_symbolic(node.value, seen)
        if isinstance(node, cst.Name | cst.Attribute) and self.imported(node) is None:
            name = get_full_name_for_node(node)
            if name in self.values and name not in (*seen, *self.arguments):
                return all(v is not None and self.is_symbolic(v, (*seen, name)) for v in self.values[name])
            return isinstance(node, cst.Attribute) and node.attr.value == "T" and self.is_symbolic(node.value, seen)
        return False

    def is_probability(self, node, seen=()):
        """Whether it is a probability, or a sum of exponentials, of which Theano knew the logarithm.

        So are elements of it, and the same in another shape.
        """
        if isinstance(node, cst.Subscript):
            return self.is_probability(node.value, seen)
        if isinstance(node, cst.UnaryOperation):
            return self.is_probability(node.expression, seen)
        if isinstance(node, cst.IfExp):
            return self.is_probability(node.body, seen) or self.is_probability(node.orelse, seen)
        if isinstance(node, cst.BinaryOperation) and text_of(node.left) in {"1", "1.", "1.0"}:
            divided = isinstance(node.operator, cst.Divide) and self.is_exponential(node.right)
            return divided or (isinstance(node.operator, cst.Subtract) and self.is_probability(node.right, seen))
        if isinstance(node, cst.Call):
            functions, of = self.applied(node)
            if functions & PROBABILITIES:
                return True
            if of is not None and "theano.tensor.sum" in functions:
                return self.is_exponential(of)
            if of is not None and functions & MOVES:
                return self.is_probability(of, seen)
            if functions:
                return False
            name = text_of(node.func).rpartition(".")[2] + "()"
            returned = self.returned.get(name, ()) if name not in seen else ()
            return any(self.is_probability(value, (*seen, name)) for value in returned)
        name = get_full_name_for_node(node) if isinstance(node, cst.Name | cst.Attribute) else None
        if name in self.values and name not in seen:
            return any(v is not None and self.is_probability(v, (*seen, name)) for v in self.values[name])
        return isinstance(node, cst.Attribute) and node.attr.value == "T" and self.is_probability(node.value, seen)

    def applied(self, call):
        """What functions a call can be of, and of what: of ``T.sum(x)`` and of ``x.sum()``, Theano's sum, of ``x``."""
        values = self.values_of(call.func) if isinstance(leftmost(call.func), cst.Name) else ()
        named = [v for v in values if isinstance(v, cst.Name | cst.Attribute)]
        names = [self.function_of(call), *map(self.imported, named)]
        functions = {under_theano(name) for name in names if name}
        if not functions and isinstance(call.func, cst.Attribute) and call.func.attr.value in METHODS:
            return {f"theano.tensor.{call.func.attr.value}"}, call.func.value
        return functions, call.args[0].value if call.args else None

    def is_exponential(self, node):
        """Whether it is an exponential, or one and an exponential."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
            return self.is_exponential(node.left) or self.is_exponential(node.right)
        return isinstance(node, cst.Call) and under_theano(self.function_of(node) or "") == "theano.tensor.exp"

    def ndim(self, node):
        """The number of axes of a variable that a constructor made, or None."""
        found = {NDIM.get(self.function_of(v)) if isinstance(v, cst.Call) else None for v in self.values_of(node)}
        return found.pop() if len(found) == 1 else None

    # --- What the imports are -----------------------------------------------------------------------------------------

    def is_taken(self, name):
        """Whether the script has something of its own under that name."""
        for node in self.nodes:
            if not isinstance(node, cst.Name) or node.value != name:
                continue
            parent = self.parents[node]
            line = self.parents[parent] if isinstance(parent, cst.ImportAlias) else None
            if line is not None and self.is_legacy(line):
                continue
            is_attribute = isinstance(parent, cst.Attribute) and parent.attr is node
            if not is_attribute and not is_under(self.imported(node) or "", "theano"):
                return True
        return False

    def is_at_the_top(self, line):
        return self.parents[self.parents[line]] is self.module

    def full_name(self, line, alias):
        name = get_full_name_for_node(alias.name)
        return f"{get_full_name_for_node(line.module)}.{name}" if isinstance(line, cst.ImportFrom) else name

    def is_legacy(self, line, roots=LEGACY):
        if isinstance(line, cst.ImportFrom):
            name = get_full_name_for_node(line.module) if line.module and not line.relative else ""
            return any(is_under(name, root) for root in roots)
        return any(is_under(get_full_name_for_node(alias.name), root) for alias in line.names for root in roots)

    def has_plain_import(self, name="theano"):
        """Whether a module is imported at the top under its own name."""
        plain = [line for line in self.imports if isinstance(line, cst.Import) and self.is_at_the_top(line)]
        return any(text_of(alias.name) == name == local_name(alias) for line in plain for alias in line.names)

    def is_prefix(self, full):
        """Whether it is a module of which parts are known: `theano.tensor.nnet`, `theano.gof`."""
        if full.removeprefix("theano.") in TREE and row_of_gone(full) is None:
            return True
        return any(known != full and is_under(known, full) for known in (*CHANGES, *EXPRESSIONS, *NAMES))

    def becomes_symupdates(self, bound):
        return bound == "lasagne.updates" or (bound == "lasagne" and self.only_updates)

    def is_rewritten_import(self, root):
        """Whether the import that binds that name stays, under PyTensor's name: not so of a module that is gone."""
        bound = self.imported(root)
        return bound == "lasagne" or exists(under_pytensor(bound)) or self.becomes_symupdates(bound)

    def takes_imports(self):
        """Whether there is a legacy import at the top, beside which others can stand."""
        return any(self.is_at_the_top(line) and self.is_legacy(line) for line in self.imports)

    def is_followed_by_helpers(self, line):
        """Whether it is such an import at the top, on a line of imports only: functions can be defined after it."""
        alone = self.is_at_the_top(line) and all(part in self.imports for part in self.parents[line].body)
        return alone and self.is_legacy(line, OF_GRAPHS)

    # --- Words for what is new ----------------------------------------------------------------------------------------

    def spell(self, name, near):
        """How to write a name of PyTensor or symupdates in full at a reference, or None if no import can be had."""
        root = near and leftmost(near)
        if is_under(name, "symupdates.theano"):
            module = name if name.removeprefix("symupdates.theano.") in TREE else name.rpartition(".")[0]
            local = module.rpartition(".")[2]
            local = f"theano_{local}" if local == "tensor" or self.is_taken(local) else local
            if self.added.get(local, module) != module or not self.takes_imports():
                return None
            self.added[local] = module
            return local + name.removeprefix(module)
        bound = near and self.imported(root)
        if bound is not None:
            new = "symupdates" if self.becomes_symupdates(bound) else under_pytensor(bound)
            word = new if root.value == bound else root.value
            if is_under(name, new) and name != new and self.is_rewritten_import(root):
                return word + name.removeprefix(new)
        words = {}
        for line in self.imports:
            if not self.is_at_the_top(line) or isinstance(line.names, cst.ImportStar):
                continue
            for alias in line.names:
                full = self.full_name(line, alias)
                if isinstance(line, cst.Import) and alias.asname is None:
                    full = full.partition(".")[0]
                new = under_pytensor(full)
                local = alias.asname.name.value if alias.asname else full.rpartition(".")[2]
                if new in {"pytensor", "pytensor.tensor", "symupdates"} and self.means(local, full, root):
                    words[new] = "pytensor" if local == full == "theano" else local
        module = max((k for k in words if is_under(name, k) and k != name), key=len, default=None)
        if module is None:
            if not self.takes_imports():
                return None
            module = "pytensor.tensor" if is_under(name, "pytensor.tensor") else name.partition(".")[0]
            local = module
            if module == "pytensor.tensor":
                free = (word for word in ("T", "pt", "tensor_") if word not in self.words or word in self.added)
                local = next(free)
            self.added[local] = module
            words[module] = local
        return words[module] + name.removeprefix(module)

    def tensor(self, near):
        """How to write pytensor.tensor at a reference, as an expression, or None."""
        spelled = self.spell("pytensor.tensor.x", near)
        return spelled and cst.parse_expression(spelled.removesuffix(".x"))

    def tensor_at_the_top(self):
        return cst.parse_expression(self.spell("pytensor.tensor.x", None).removesuffix(".x"))

    def can_define(self, node):
        """Whether a function that is defined after the imports can stand for that name."""
        place = any(map(self.is_followed_by_helpers, self.imports))
        return place and not self.is_rebound(leftmost(node)) and self.spell("pytensor.tensor.x", None) is not None

    def define(self, node, name, arguments, text):
        """The name of a function to define after the imports, for what Theano's computed at a node."""
        self.called.add(node)
        tensor = self.tensor_at_the_top()
        self.says_pytensor |= leftmost(tensor).value == "pytensor"
        body = cst.parse_expression(text).visit(Fill({"T": tensor}))
        return self.helper(name.rpartition(".")[2], arguments, text_of(body))

    def helper(self, name, arguments, text):
        """The name under which a function is to be defined."""
        name = f"theano_{name}" if self.is_taken(name) else name
        name = name if self.helpers.get(name, (arguments, text)) == (arguments, text) else f"{name}_{len(arguments)}"
        self.helpers[name] = arguments, text
        return name

    # --- What is said and done ----------------------------------------------------------------------------------------

    def find(self, node, kind, why="", plan=None, now=None, legacy=None, moved=None):
        """Say something of a node, and plan to replace it if there is a plan that is safe.

        It is not where it would lose a comment, or where the name may have been given to something else since its
        import. `moved` is a reference that the plan takes from its import.
        """
        start = self.positions[node].start
        legacy = text_of(node) if legacy is None else legacy
        finding = Finding(start.line, start.column + 1, kind, legacy, now or "", why)
        self.findings.append(finding)
        if plan is None:
            return finding
        root = leftmost(node.func if isinstance(node, cst.Call) else node)
        new = plan(node)
        if len(comments_in(new)) < len(comments_in(node)) or self.is_rebound(root):
            finding.now = text_of(new)
            return finding
        self.plans[node] = plan, finding
        self.says_pytensor |= any(isinstance(part, cst.Name) and part.value == "pytensor" for part in walk(new))
        if moved is not None:
            self.moved.add(leftmost(moved))
        return finding

    def replace_statement(self, line, new, kind="renamed", why=""):
        """Say and plan that statements take the place of one, on lines of their own where it has one."""
        parent = self.parents[line]
        finding = self.find(line, kind, why)
        kept = [text_of(statement) for statement in new]
        if isinstance(parent, cst.SimpleStatementLine) and len(parent.body) == 1:
            block = self.parents[parent]
            if not new and isinstance(block, cst.IndentedBlock) and len(block.body) == 1:
                new = [cst.Pass()]

            def plan(updated):
                if not new:
                    lines = [cst.EmptyLine(comment=each) for each in comments_in(updated)]
                    return cst.FlattenSentinel(lines)
                lost = comments_in(line) if sum(len(comments_in(each)) for each in new) < len(comments_in(line)) else []
                above = [*updated.leading_lines, *(cst.EmptyLine(comment=each) for each in lost)]
                lines = [updated.with_changes(body=[new[0]], leading_lines=above)]
                lines += [cst.SimpleStatementLine([statement]) for statement in new[1:]]
                return cst.FlattenSentinel(lines)

            self.plans[parent] = plan, None
        else:
            self.plans[line] = (lambda updated: cst.FlattenSentinel(new) if new else cst.RemoveFromParent()), None
            self.plans[parent] = without_last_semicolon, None
        finding.now = "; ".join(kept) or "nothing"
        finding.rewritten = True

    def replace(self, node, text):
        """A plan: put that expression in its place, in parentheses if need be."""
        new = cst.parse_expression(text) if isinstance(text, str) else text
        inside = isinstance(
            self.parents[node],
            cst.Assign
            | cst.AnnAssign
            | cst.AugAssign
            | cst.Return
            | cst.Arg
            | cst.Param
            | cst.Expr
            | cst.Index
            | cst.Element,
        )
        if not inside or (isinstance(new, cst.Tuple) and not isinstance(self.parents[node], cst.Assign | cst.Return)):
            new = closed(new)

        def plan(updated):
            return new.with_changes(lpar=updated.lpar, rpar=updated.rpar) if updated.lpar else new

        return plan
