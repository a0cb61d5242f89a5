r"""Rewrites that put the ops of `ops` where plain formulas ask for them.

They look at a graph after PyTensor has made its formulas canonical and stable, and before it
fuses elementwise ones. The cost of an autoencoder is then a sum of

.. math:: -x\, \mathrm{softplus}(-a) - (1 - x)\, \mathrm{softplus}(a),

and its gradient by :math:`a` is :math:`-x (1 - z) / n - (-(1 - x) z) / n`, where :math:`z = s(a)`.
Such expressions are compared as polynomials (see `_polynomials`), so that neither the order of
factors matters nor what is multiplied out. What is not recognised with certainty is left alone.
"""

from functools import reduce
from itertools import chain

import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.graph.basic import Variable
from pytensor.graph.rewriting.basic import GraphRewriter, MergeOptimizer, in2out, node_rewriter
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.scalar import basic as scalar
from pytensor.scalar import math as scalar_math
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Dot, Sum

from dae.compiler import ops
from dae.compiler._class_rewrites import (
    use_gradient_of_log_likelihood,
    use_log_likelihood,
    use_row_argmax,
)
from dae.compiler._polynomials import (
    Polynomials,
    Sigmoid,
    Softplus,
    add,
    atom,
    collect,
    constant,
    is_monomial,
    is_short,
    keeps_digits,
    multiply,
    negative,
    number,
    reciprocal,
    scalar_op,
    without_sign,
)
from dae.compiler._variables import (
    is_float,
    is_float_matrix,
    is_like,
    is_number,
    is_shaped_like,
)

TRANSPOSE = pt.matrix().T.owner.op

MAX_DEPTH = 10
"""How many operations lie between a sum and its terms, at the most."""


def expression(monomial, dtype):
    """Return a polynomial of one term as an expression."""
    [(factors, coefficient)] = monomial.items()
    result = pt.constant(float(coefficient), dtype=dtype)
    for factor, power in sorted(factors, key=place_in_product):
        for _ in range(abs(power)):
            result = times(result, factor) if power > 0 else result / factor
    return result


def place_in_product(item):
    """Return a key to sort the factors of a term by, which is the same in all runs of a program.

    Numbers come first, since their products cost next to nothing; then what was made earlier, by
    the number in its ``auto_name``.
    """
    factor, _ = item
    return factor.type.ndim, int(factor.auto_name.removeprefix("auto_"))


def scaled(monomial, variable):
    """Return a polynomial of one term times a variable, as an expression."""
    return times(expression(monomial, variable.dtype), variable)


def times(scale, variable):
    """Return a product, without an operation where the scale is a constant 1 of one dtype."""
    is_one = constant(scale) == 1 and scale.dtype == variable.dtype
    return variable if is_one else scale * variable


class CrossEntropyRewriter(GraphRewriter):
    r"""Put a `CrossEntropy` where its results are computed.

    The first is a sum over rows of :math:`c\,(\mathrm{softplus}(a) - x a)`, the second anything
    elementwise that equals :math:`c\,(s(a) - x)`, with the x and a of such a sum.
    """

    def apply(self, fgraph):
        """Rewrite a graph."""
        nodes = fgraph.toposort()
        polynomials = polynomials_of(nodes)
        places = {variable: i for i, node in enumerate(nodes) for variable in node.outputs}
        replacements, residuals = [], {}
        for place, node in enumerate(nodes):
            match = match_cost(node, polynomials)
            # What depends only on what comes before it closes no cycle.
            if match is not None and places.get(match[1], -1) < place:
                c, x, a = match
                L, residuals[x, a] = ops.cross_entropy(x, a)
                cost = L if node.outputs[0].type.ndim else pt.sum(L)
                replacements.append(add_up_costs(fgraph, node.outputs[0], c, cost))
        # From the outputs down: where a whole is replaced, its parts are gone.
        for place, node in reversed([*enumerate(nodes)]):
            for (x, a), residual in residuals.items():
                c = match_residual(node.outputs[0], x, a, polynomials)
                if c is not None and places.get(x, -1) < place:
                    replacements.append((node.outputs[0], scaled(c, residual)))
                    break
        fgraph.replace_all(replacements, reason="dae_cross_entropy", import_missing=True)


def polynomials_of(nodes):
    """Return the polynomials of all variables of a graph, in what softplus and sigmoid are of."""
    functions = scalar_math.Softplus | scalar_math.Sigmoid
    arguments = [n.inputs[0] for n in nodes if isinstance(scalar_op(n.outputs[0]), functions)]
    polynomials = Polynomials(atoms={without_sign(a)[0] for a in arguments})
    for node in nodes:
        for variable in filter(is_float, (*node.inputs, *node.outputs)):
            polynomials(variable)
    return polynomials


def match_cost(node, polynomials):
    r"""Recognise the sum, of rows or of all, of :math:`c\,(\mathrm{softplus}(a) - x a)`.

    Parameters
    ----------
    node : Apply
    polynomials : Polynomials
        Has seen all that x may be.

    Returns
    -------
    (c, x, a) or None
        A polynomial of one term, without dimensions, and two matrices of one kind.
    """
    is_sum = isinstance(node.op, Sum) and node.op.axis in (None, (0, 1), (1,))
    if not is_sum or not is_float_matrix(node.inputs[0]) or not keeps_digits(node.outputs[0]):
        return None
    [terms] = node.inputs
    polynomial = polynomials(terms)
    factors = {factor for monomial in polynomial for factor, _ in monomial}
    softpluses = [factor for factor in factors if isinstance(factor, Softplus)]
    if len(softpluses) != 1:
        return None
    a = softpluses[0].a
    c, rest = collect(polynomial, Softplus(a))
    minus_c_x, rest = collect(rest, a)
    if rest or not is_monomial(c, ndim=0) or not is_like(terms, a):
        return None
    x_polynomial = multiply(negative(minus_c_x), reciprocal(c))
    # An equal variable elsewhere may be of another shape if all their common factors are repeated.
    factors = {factor for monomial in x_polynomial for factor, _ in monomial}
    arguments = [f if isinstance(f, Variable) else f.a for f in factors]
    if not any(is_shaped_like(argument, a) for argument in arguments):
        return None
    return next(((c, x, a) for x in polynomials.variables(x_polynomial) if is_like(x, a)), None)


def add_up_costs(fgraph, variable, c, cost):
    """Return a variable that is c times a cost, or a sum of it, or minus that; and its expression.

    Following sums and signs cancels the one that the tutorial's formula begins with.
    """
    while has_one_client(fgraph, variable):
        [(client, _)] = fgraph.clients[variable]
        if isinstance(client.op, Sum) and client.outputs[0].dtype == cost.dtype:
            cost = pt.sum(cost)
        elif isinstance(client.op, Elemwise) and isinstance(client.op.scalar_op, scalar.Neg):
            c = negative(c)
        else:
            break
        [variable] = client.outputs
    return variable, scaled(c, cost)


def match_residual(variable, x, a, polynomials):
    r"""Recognise :math:`c\,(s(a) - x)`; return c, a polynomial of one term, or None."""
    if not is_float_matrix(variable) or not is_like(variable, a):
        return None
    c, rest = collect(polynomials(variable), Sigmoid(a))
    is_residual = is_monomial(c) and not add(rest, multiply(c, polynomials(x)))
    return c if is_residual else None


class ProductRewriter(GraphRewriter):
    """Put a `Gemm` where a matrix product is computed, with what is added to it.

    A sum of products, each with a factor without dimensions, is added up in the memory of one
    result, and starts from what else there is in the sum: a row, or a matrix.
    """

    def apply(self, fgraph):
        """Rewrite a graph."""
        # From the outputs down: where a whole is replaced, its parts are gone.
        for node in reversed(fgraph.toposort()):
            if node in fgraph.apply_nodes and is_float_matrix(node.outputs[0]):
                result = add_up(fgraph, node.outputs[0])
                if result is not None:
                    pair = node.outputs[0], result
                    fgraph.replace(*pair, reason="dae_products", import_missing=True)


def add_up(fgraph, variable):
    """Return a sum with matrix products in it as an expression in `Gemm`; None for others."""
    products, others = [], []
    for monomial, term in summands(fgraph, variable, number(1)):
        is_alone = term is variable or has_one_client(fgraph, term)
        if is_product(term) and is_alone and is_like(term, variable):
            products.append((monomial, *term.owner.inputs))
        else:
            others.append(times(expression(monomial, variable.dtype), term))
    if not products:
        return None
    total = start_of_sum(others, variable, is_worth_a_pass=len(products) > 1)
    if total is None:
        return None
    kinds = {}
    for factor, *matrices in products:
        matrices, transposed = zip(*map(untransposed, matrices), strict=True)
        kinds.setdefault((frozenset(factor.items()), transposed), []).append(matrices)
    for (factor, transposed), pairs in kinds.items():
        alpha = expression(dict(factor), variable.dtype)
        for i in range(0, len(pairs), 2):
            total = ops.Gemm(*transposed)(total, alpha, *chain(*pairs[i : i + 2]))
    return total


def summands(fgraph, variable, scale, depth=0):
    """Return the terms that a variable is the sum of, down to matrix products.

    Parameters
    ----------
    fgraph : FunctionGraph
    variable : matrix
    scale : dict
        What it is multiplied by: a polynomial of one term, without dimensions.
    depth : int, default=0
        How far the variable is from the whole sum. All but that may be in use elsewhere.

    Returns
    -------
    list of (dict, variable)
        Each term and what it is multiplied by; the variable itself if there is no product in it.
    """
    itself = [(scale, variable)]
    op = scalar_op(variable)
    if op is None or not keeps_digits(variable) or depth == MAX_DEPTH:
        return itself
    if depth and not has_one_client(fgraph, variable):
        return itself
    inputs = variable.owner.inputs
    match op:
        case scalar.Add():
            parts = [(scale, v) for v in inputs]
        case scalar.Sub():
            parts = [(scale, inputs[0]), (negative(scale), inputs[1])]
        case scalar.Neg():
            parts = [(negative(scale), inputs[0])]
        case scalar.Mul() if [is_number(v) for v in inputs].count(False) == 1:
            factors = map(as_factor, filter(is_number, inputs))
            [matrix] = (v for v in inputs if not is_number(v))
            parts = [(reduce(multiply, factors, scale), matrix)]
        case scalar.TrueDiv() if is_number(inputs[1]):
            parts = [(multiply(scale, reciprocal(as_factor(inputs[1]))), inputs[0])]
        case _:
            return itself
    if not all(is_short(factor) for factor, _ in parts):
        return itself
    terms = [term for factor, v in parts for term in summands(fgraph, v, factor, depth + 1)]
    return terms if any(is_product(term) for _, term in terms) else itself


def start_of_sum(others, variable, is_worth_a_pass):
    """Return what a `Gemm` can add products to.

    Parameters
    ----------
    others : list of variable
        What there is in a sum beside products.
    variable : matrix
        The sum.
    is_worth_a_pass : bool
        Whether to compute a matrix for it, which PyTensor would fuse with other computations.

    Returns
    -------
    variable or number or None
        None if there is nothing that a `Gemm` can add to, or should.
    """
    if not others:
        return 0
    rest = others[0] if len(others) == 1 else pt.add(*others)
    if rest.dtype != variable.dtype:
        return None
    if rest.type.broadcastable == (True, False) and not variable.type.broadcastable[0]:
        is_vector = isinstance(rest.owner and rest.owner.op, DimShuffle)
        [vector] = rest.owner.inputs if is_vector else [rest]
        return vector if vector.type.ndim == 1 else rest.dimshuffle(1)
    if is_like(rest, variable) and (is_worth_a_pass or scalar_op(rest) is None):
        return rest
    return None


def has_one_client(fgraph, variable):
    """Return whether a variable is used in one place only."""
    return len(fgraph.clients[variable]) == 1


def is_product(variable):
    """Return whether a variable is the product of two matrices that the ops can compute with."""
    return (
        variable.owner is not None
        and isinstance(variable.owner.op, Dot)
        and all(is_float_matrix(v) and v.dtype == variable.dtype for v in variable.owner.inputs)
    )


def as_factor(variable):
    """Return a variable of one element as a polynomial of one term."""
    value = constant(variable)
    if value is not None:
        return number(value)
    if variable.type.ndim == 0:
        return atom(variable)
    is_expanded = isinstance(variable.owner and variable.owner.op, DimShuffle)
    [inner] = variable.owner.inputs if is_expanded else [variable]
    return atom(inner if inner.type.ndim == 0 else variable.dimshuffle())


def untransposed(variable):
    """Return a matrix, and whether the variable is its transpose."""
    if variable.owner is not None and variable.owner.op == TRANSPOSE:
        return variable.owner.inputs[0], True
    return variable, False


@node_rewriter([Elemwise])
def use_fast_sigmoid(fgraph, node):
    """Compute the logistic function in vector instructions."""
    [a] = node.inputs[:1]
    is_sigmoid = isinstance(node.op.scalar_op, scalar_math.Sigmoid)
    return [ops.sigmoid(a)] if is_sigmoid and a.type.ndim and a.type.dtype in ops.DTYPES else None


@node_rewriter([Sum])
def use_column_sum(fgraph, node):
    """Add up columns along the rows."""
    [a] = node.inputs
    is_of_columns = node.op.axis == (0,) and is_float_matrix(a) and keeps_digits(node.outputs[0])
    return [ops.column_sum(a)] if is_of_columns else None


class StabilityRewriter(GraphRewriter):
    """Keep logarithms finite in FAST_COMPILE as well.

    PyTensor's other modes have rewrites against log 0 of a saturated unit, and 0 / 0 in its
    gradient, which this mode leaves out. A function with a logarithm in it gets them.
    """

    def apply(self, fgraph):
        """Rewrite a graph."""
        logarithms = scalar.Log | scalar.Log1p
        if any(isinstance(scalar_op(node.outputs[0]), logarithms) for node in fgraph.apply_nodes):
            # The graph may be the inside of an op, such as LogSoftmax, and must not become that op.
            query = RewriteDatabaseQuery(include=["fast_run"], exclude=["symbolic_op_recognition"])
            for name in ("canonicalize", "stabilize", "specialize"):
                optdb[name].query(query).rewrite(fgraph)


optdb.register("dae_stability", StabilityRewriter(), "fast_compile", "dae", position=1.4)
optdb.register("dae_merge", MergeOptimizer(), "numba", "dae", position=47)
optdb.register("dae_cross_entropy", CrossEntropyRewriter(), "numba", "dae", position=47.1)
optdb.register(
    "dae_classes",
    in2out(use_log_likelihood, use_gradient_of_log_likelihood, use_row_argmax),
    "numba",
    "dae",
    position=47.1,
)
optdb.register("dae_products", ProductRewriter(), "numba", "dae", position=47.2)
optdb.register("dae_sigmoid", in2out(use_fast_sigmoid), "numba", "dae", position=47.3)
optdb.register("dae_column_sum", in2out(use_column_sum), "numba", "dae", position=47.3)
