"""The published losses, as formulas over score matrices [queries, passages]."""
import torch
from torch.nn import functional as F


def margin_mse(student_pos, student_neg, teacher_pos, teacher_neg):
    """mean [ (s(q,p+) - s(q,p-)) - (t(q,p+) - t(q,p-)) ]^2  (Margin-MSE, arXiv 2010.02666)."""
    return (((student_pos - student_neg) - (teacher_pos - teacher_neg)) ** 2).mean()


def list_margin_mse(student, teacher, mask):
    """Margin-MSE of every two passages of a list: the variance, within a list, of student minus teacher.

    mean_ij ((s_i - s_j) - (t_i - t_j))^2 = 2 var_i (s_i - t_i). student, teacher, mask: [queries, list].
    """
    d = (student - teacher).masked_fill(~mask, 0)
    n = mask.sum(1, keepdim=True).clamp(min=1)
    d = (d - d.sum(1, keepdim=True) / n).masked_fill(~mask, 0)
    return 2 * (d ** 2).sum() / mask.sum()


def kl(student, teacher, mask):
    """KL(softmax t || softmax s) over each list, a mean over the lists."""
    t = teacher.masked_fill(~mask, -1e9).softmax(1)
    s = student.masked_fill(~mask, -1e9).log_softmax(1)
    return F.kl_div(s, t, reduction="none").masked_fill(~mask, 0).sum(1).mean()


def label(student, positive, mask):
    """Softmax cross-entropy of the positive within its list; positive < 0: the query has none."""
    known = positive >= 0
    if not known.any():
        return student.sum() * 0
    return F.cross_entropy(student.masked_fill(~mask, -1e9)[known], positive[known])


def dual_supervision(scores, pair_teacher, batch_teacher, alpha=0.75):
    """L_pair + alpha L_inb of TAS-Balanced (arXiv 2104.06967).

    scores [b, 2b]: of each query with the b positives, then with the b negatives. pair_teacher [b, 2]: of its own two.
    batch_teacher [b, 2b]. L_pair is Margin-MSE of the own pair by the first, L_inb half of Margin-MSE of its positive
    against the other positives plus half of that against the other negatives, by the second; the diagonals are left out.
    """
    b = scores.shape[0]
    own = torch.arange(b, device=scores.device)
    pair = margin_mse(scores[own, own], scores[own, own + b], pair_teacher[:, 0], pair_teacher[:, 1])
    d = scores - batch_teacher
    d = d[own, own][:, None] - d
    other = ~torch.eye(b, dtype=torch.bool, device=scores.device)
    inb = 0.5 * ((d[:, :b][other] ** 2).mean() + (d[:, b:][other] ** 2).mean())
    return pair + alpha * inb, {"pair": pair.item(), "inb": inb.item()}


def min_max(x):
    """(x - min) / (max - min + 1e-6) of each row."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    return (x - low) / (high - low + 1e-6)


def flops(weights, scale=1.0):
    """sum_v (mean_i w[i,v])^2 (FLOPS, arXiv 2004.05665), of a sample of the vocabulary: times `scale`.

    On the weights as they are stored it is the IDF-aware penalty of arXiv 2411.04403: gradients of the ranking loss are
    as large as the token's idf, this one is not, so common tokens must be worth more to stay. On idf * w it is the plain
    one.
    """
    return scale * (weights.mean(0) ** 2).sum()
