"""Inference of supervised fastText models over Arrow text buffers, compiled by numba.

Guarantees: rows are added in fastText's order in float32 without fused operations, so hidden layers are equal
bit by bit; models of few labels take a shorter way whose scores are within 4e-7 (see LONG). Holds the model
and one document's features.
"""

# numba has no types for mypy and knows no difference between Python's and numpy's numbers:
# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from classifiers.native_fasttext.features import Tables, features, make_room
from classifiers.native_fasttext.met_words import Met
from classifiers.native_fasttext.subwords import F32, I32, I64, U8, njit

LONG = 3000  # features; up to here projected rows stay within 4e-7 of the package (2026-11, 16 dimensions)
LANES = 16  # numbers that are summed side by side
CLEAR = 0.99  # a probability that hardly moves with its logit
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4  # fastText's loss_name
MARGIN = np.float32(1e-3)  # closer leaves of the tree are compared in fastText's own order
FLOOR = np.float32(math.log(1e-5))  # fastText leaves out labels below this


class Output(NamedTuple):
    """The output layer. `weights` is transposed: (dimensions, outputs); a tree has labels - 1 outputs."""

    loss: int
    labels: int
    weights: F32
    scale: F32  # (outputs,) norms of a quantised matrix, else ones
    left: I32  # (2 * labels - 1,) children in the tree, -1 at leaves
    right: I32
    sigmoid: F32  # table of 513 values


@intrinsic  # type: ignore[untyped-decorator]
def sum_lanes(typing: Any, rows: Any, ids: Any, count: Any, column: Any, out: Any) -> Any:
    """Write the sum of LANES columns of rows[ids[:count]] from `column` on: plain additions, in order, in registers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.FloatType(), LANES)
        matrix, places, target = (
            context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 1, 4)
        )
        total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * LANES))
        width = builder.extract_value(matrix.shape, 1)
        with cgutils.for_range(builder, arguments[2]) as loop:
            row = builder.sext(builder.load(builder.gep(places.data, [loop.index])), ir.IntType(64))
            start = builder.gep(matrix.data, [builder.add(builder.mul(row, width), arguments[3])])
            found = builder.load(builder.bitcast(start, lanes.as_pointer()), align=4)
            builder.store(builder.fadd(builder.load(total), found), total)
        end = builder.bitcast(builder.gep(target.data, [arguments[3]]), lanes.as_pointer())
        builder.store(builder.load(total), end, align=4)
        return context.get_dummy_value()

    return types.void(rows, ids, types.int64, types.int64, out), build


@njit
def average(rows: F32, ids: I32, count: int, hidden: F32) -> None:
    """Set the hidden layer to the mean of rows, summed up in order."""
    if len(hidden) % LANES == 0:
        for d in range(0, len(hidden), LANES):
            sum_lanes(rows, ids, count, d, hidden)
    else:
        hidden[:] = np.float32(0)
        for i in range(count):
            row = rows[ids[i]]
            for d in range(len(hidden)):
                hidden[d] += row[d]
    share = np.float32(1.0 / max(count, 1))
    for d in range(len(hidden)):
        hidden[d] *= share


@njit
def average_logits(projected: F32, ids: I32, count: int, out: F32) -> None:
    """Set the outputs to the mean of projected rows; sums are float64, two outputs at a time in registers."""
    for k in range(0, len(out), 2):
        last = min(k + 1, len(out) - 1)
        a, b = 0.0, 0.0
        for i in range(count):
            row = ids[i]
            a += projected[row, k]
            b += projected[row, last]
        out[k], out[last] = np.float32(a / count), np.float32(b / count)


@njit
def cut(data: U8, start: int, stop: int, max_chars: int) -> int:
    """Return where the first `max_chars` characters end."""
    if stop - start <= max_chars:
        return stop
    chars = 0
    for i in range(start, stop):
        if data[i] & 0xC0 != 0x80:
            if chars == max_chars:
                return i
            chars += 1
    return stop


@njit
def std_log(x: float) -> np.float32:
    return np.float32(math.log(x + 1e-5))


@njit
def linear(o: Output, hidden: F32, out: F32) -> None:
    """Multiply the hidden layer with the output matrix; each output is summed in fastText's order."""
    out[:] = np.float32(0)
    for d in range(len(hidden)):
        row, x = o.weights[d], hidden[d]
        for i in range(len(out)):
            out[i] += row[i] * x
    for i in range(len(out)):
        out[i] *= o.scale[i]


@njit
def softmax(out: F32) -> None:
    """Turn outputs into probabilities, in place."""
    z, largest = np.float32(0), out.max()
    for i in range(len(out)):
        out[i] = np.float32(math.exp(np.float64(out[i] - largest)))
        z += out[i]
    for i in range(len(out)):
        out[i] /= z


@njit
def logistic(table: F32, out: F32) -> None:
    """Turn outputs into probabilities by fastText's table of 512 steps over [-8, 8], in place."""
    for i in range(len(out)):
        x = out[i]
        if x < -8:
            out[i] = np.float32(0)
        elif x > 8:
            out[i] = np.float32(1)
        else:
            out[i] = table[np.int64((x + np.float32(8)) * np.float32(512) / np.float32(8) / np.float32(2))]


@njit
def from_hidden(o: Output, hidden: F32, out: F32) -> None:
    """Compute the probability of every label from the hidden layer, without a tree."""
    linear(o, hidden, out)
    if o.loss == SOFTMAX:
        softmax(out)
    else:
        logistic(o.sigmoid, out)


@njit
def probabilities(o: Output, rows: F32, projected: F32, ids: I32, count: int, hidden: F32, out: F32) -> None:
    """Compute the probability of every label, without a tree.

    Long documents that are not clear take the long way: fastText's own rounding errors add up with the
    features, and they must be repeated to be within 1e-6 of it.
    """
    if len(projected):
        average_logits(projected, ids, count, out)
        softmax(out)
        if count <= LONG or out.max() > CLEAR:
            return
    average(rows, ids, count, hidden)
    from_hidden(o, hidden, out)


@njit
def best_probability(out: F32) -> tuple[int, np.float32]:
    """Return the label fastText names first and its score; of equal scores it takes the last."""
    largest = out.max()
    best, score = -1, np.float32(-np.inf)
    for i in range(len(out)):
        if out[i] >= largest * np.float32(0.9999):
            value = std_log(np.float64(out[i]))
            if value >= score:
                best, score = i, value
    return best, score


@njit
def branch(o: Output, hidden: F32, node: int) -> tuple[np.float32, np.float32]:
    """Return the logarithms of going left and right at an inner node of the tree."""
    column = node - o.labels
    total = np.float32(0)
    for d in range(len(hidden)):
        total += o.weights[d, column] * hidden[d]
    power = np.float32(math.exp(-np.float64(total * o.scale[column])))
    f = np.float32(1.0 / np.float64(np.float32(power + np.float32(1))))
    return std_log(np.float64(np.float32(1.0 - np.float64(f)))), std_log(np.float64(f))


@njit
def best_leaf(o: Output, hidden: F32, nodes: I32, scores: F32, exact: bool) -> tuple[int, np.float32, bool]:
    """Return (label, score, whether another leaf is close), the likelier branch first.

    `exact` visits left before right and prunes as fastText does, which decides near ties.
    """
    margin = np.float32(0) if exact else MARGIN
    best, top, second = -1, np.float32(-np.inf), np.float32(-np.inf)
    nodes[0], scores[0], depth = 2 * o.labels - 2, np.float32(0), 1
    while depth:
        depth -= 1
        node, score = nodes[depth], scores[depth]
        if score < FLOOR or score < top - margin:
            continue
        if o.left[node] < 0:
            if score >= top:
                best, top, second = node, score, top
            elif score > second:
                second = score
            continue
        left, right = branch(o, hidden, node)
        first = exact or left > right  # the last one pushed is visited first
        nodes[depth], scores[depth] = (o.right[node], score + right) if first else (o.left[node], score + left)
        depth += 1
        nodes[depth], scores[depth] = (o.left[node], score + left) if first else (o.right[node], score + right)
        depth += 1
    return best, top, second > top - MARGIN


@njit
def leaf_scores(o: Output, hidden: F32, out: F32, nodes: I32, scores: F32) -> None:
    """Compute the score of every leaf of the tree as a logarithm; -inf below fastText's floor."""
    out[:] = np.float32(-np.inf)
    nodes[0], scores[0], depth = 2 * o.labels - 2, np.float32(0), 1
    while depth:
        depth -= 1
        node, score = nodes[depth], scores[depth]
        if score < FLOOR:
            continue
        if o.left[node] < 0:
            out[node] = score
            continue
        left, right = branch(o, hidden, node)
        nodes[depth], scores[depth] = o.left[node], score + left
        nodes[depth + 1], scores[depth + 1] = o.right[node], score + right
        depth += 2


@njit
def clipped(score: np.float32) -> np.float32:
    return min(np.float32(math.exp(np.float64(score))), np.float32(1))


@njit
def best_labels(
    t: Tables,
    o: Output,
    met: Met,
    data: U8,
    offsets: I64,
    max_chars: int,
    longest: int,
    label: I32,
    score: F32,
) -> None:
    """Fill in the best label of each document and its score; -1 and 0 for a document without features."""
    room = make_room(t.sizes, longest, met)
    ids = room.ids
    rows, projected, out = t.rows, t.projected, np.empty(o.labels, np.float32)
    hidden = np.empty(rows.shape[1], np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(label)):
        stop = cut(data, offsets[i], offsets[i + 1], max_chars)
        label[i], score[i] = -1, np.float32(0)
        count = features(t, data, offsets[i], stop, room)
        if count == 0:
            continue
        if o.loss == HIERARCHICAL:
            average(rows, ids, count, hidden)
            best, value, close = best_leaf(o, hidden, nodes, scores, False)
            if close:
                best, value, close = best_leaf(o, hidden, nodes, scores, True)
        else:
            probabilities(o, rows, projected, ids, count, hidden, out)
            best, value = best_probability(out)
        label[i], score[i] = best, clipped(value)


@njit
def label_scores(
    t: Tables,
    o: Output,
    met: Met,
    data: U8,
    offsets: I64,
    max_chars: int,
    longest: int,
    wanted: I64,
    found: F32,
) -> None:
    """Fill in the scores of the wanted labels, (documents, wanted)."""
    room = make_room(t.sizes, longest, met)
    ids = room.ids
    rows, projected, out = t.rows, t.projected, np.empty(o.labels, np.float32)
    hidden = np.empty(rows.shape[1], np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(found)):
        stop = cut(data, offsets[i], offsets[i + 1], max_chars)
        found[i] = np.float32(0)
        count = features(t, data, offsets[i], stop, room)
        if count == 0:
            continue
        if o.loss == HIERARCHICAL:
            average(rows, ids, count, hidden)
            leaf_scores(o, hidden, out, nodes, scores)
        else:
            probabilities(o, rows, projected, ids, count, hidden, out)
            for k in range(o.labels):
                out[k] = std_log(np.float64(out[k]))
        for k in range(len(wanted)):
            found[i, k] = clipped(out[wanted[k]])
