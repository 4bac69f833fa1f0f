"""Masked language modelling of the head alone (BERT, arXiv 1810.04805): all-MiniLM-L6-v2 was published without one."""
import random

import torch
from torch.nn import functional as F

from .loop import autocast


def masked(tokens, mask_id, vocabulary, random_):
    """Token ids with 15 % of them hidden (8 of 10 as [MASK], 1 as another token, 1 as it is), and which."""
    count = max(1, round(0.15 * len(tokens)))
    places = sorted(random_.sample(range(len(tokens)), min(count, len(tokens))))
    out = list(tokens)
    for place in places:
        kind = random_.random()
        out[place] = mask_id if kind < 0.8 else random_.randrange(vocabulary) if kind < 0.9 else out[place]
    return out, places


def loss_of(encoder, head, passages, mask_id, batch, seed):
    """For loop.Run: cross-entropy over the whole vocabulary of the hidden tokens of `batch` passages. The encoder is fixed."""

    def loss(step):
        random_ = random.Random(seed * 1_000_003 + step)
        drawn = [passages[n] for n in random_.sample(range(len(passages)), min(batch, len(passages)))]
        drawn = [tokens for tokens in drawn if tokens]
        pairs = [masked(tokens, mask_id, len(head.words), random_) for tokens in drawn]
        ids, mask = encoder.padded([tokens for tokens, _ in pairs])
        with torch.no_grad(), autocast(ids.device):
            states = encoder.run(encoder.embed(ids), mask)[-1]
        hidden = torch.cat([states[row, [1 + place for place in places]] for row, (_, places) in enumerate(pairs)])
        wanted = torch.tensor([tokens[place] for tokens, (_, places) in zip(drawn, pairs) for place in places],
                              device=ids.device)
        with autocast(ids.device):
            logits = head.hidden(hidden.float()) @ head.words.T + head.bias
        return F.cross_entropy(logits.float(), wanted), {"right": float((logits.argmax(1) == wanted).float().mean())}

    return loss
