"""A decoder in PyTorch (Qwen2's architecture) and what FIRST trains it with."""
import math

import torch
from torch import nn
from torch.nn import functional as F


def rotate(x, cos, sin):
    """RoPE on halves: pairs (i, i + head_dim / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Layer(nn.Module):
    """Pre-norm: RMSNorm, grouped-query attention with biases on q, k, v; RMSNorm, SwiGLU."""

    def __init__(self, c):
        super().__init__()
        dim, self.heads, self.kv = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.size, self.eps = dim // self.heads, c["rms_norm_eps"]
        self.norm1, self.norm2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.qkv = nn.Linear(dim, (self.heads + 2 * self.kv) * self.size)
        self.out = nn.Linear(dim, dim, bias=False)
        self.up = nn.Linear(dim, 2 * c["intermediate_size"], bias=False)  # gate, then up
        self.down = nn.Linear(c["intermediate_size"], dim, bias=False)

    def forward(self, x, cos, sin):
        rows, length, dim = x.shape
        y = self.qkv(F.rms_norm(x, (dim,), self.norm1, self.eps)).view(rows, length, -1, self.size).transpose(1, 2)
        turned = rotate(y[:, :self.heads + self.kv], cos.to(y.dtype), sin.to(y.dtype))
        q, k, v = turned[:, :self.heads], turned[:, self.heads:], y[:, self.heads + self.kv:]
        times = self.heads // self.kv
        k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(rows, length, dim))
        gate, up = self.up(F.rms_norm(x, (dim,), self.norm2, self.eps)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(config["hidden_size"]))

    def start(self, seed):
        """Small random numbers; weir_train/first_start.py puts what is known in place."""
        generator = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                std = 0.02 if not name.endswith(("out.weight", "down.weight")) else 0.02 / math.sqrt(2 * len(self.layers))
                with torch.no_grad():
                    p.copy_(std * torch.randn(p.shape, generator=generator))
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        return self

    def tables(self, length, device):
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        turn = self.config["rope_theta"] ** (-torch.arange(0, size, 2, device=device).float() / size)
        angle = torch.arange(length, device=device).float()[:, None] * turn
        return angle.cos(), angle.sin()

    def states(self, lists, noise=0.0, generator=None):
        """States after the last layer [rows, longest, dim] of lists of ids, padded on the right: a causal decoder does not
        see what comes after. noise: NEFTune's alpha (arXiv 2310.05914)."""
        device = self.embed.weight.device
        longest = max(map(len, lists))
        ids = torch.zeros(len(lists), longest, dtype=torch.long)
        for row, tokens in enumerate(lists):
            ids[row, :len(tokens)] = torch.tensor(tokens)
        x = self.embed(ids.to(device))
        if noise:
            lengths = torch.tensor([len(tokens) for tokens in lists], device=device).float()
            size = noise / torch.sqrt(lengths * x.shape[-1])
            x = x + (torch.rand(x.shape, generator=generator).to(device) * 2 - 1) * size[:, None, None]
        cos, sin = self.tables(longest, device)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return x

    def logits(self, x, rows=None):
        """Of states [n, dim]; rows: of these tokens alone."""
        words = self.embed.weight if rows is None else self.embed.weight[rows]
        return F.rms_norm(x, x.shape[-1:], self.norm, self.config["rms_norm_eps"]) @ words.to(x.dtype).T

    def state_for_export(self):
        """Hugging Face's names."""
        out = {"model.embed_tokens.weight": self.embed.weight, "model.norm.weight": self.norm}
        c = self.config
        head = c["hidden_size"] // c["num_attention_heads"]
        parts = [c["num_attention_heads"] * head, c["num_key_value_heads"] * head, c["num_key_value_heads"] * head]
        for n, layer in enumerate(self.layers):
            name = f"model.layers.{n}."
            for kind in ("weight", "bias"):
                for part, value in zip("qkv", getattr(layer.qkv, kind).split(parts)):
                    out[f"{name}self_attn.{part}_proj.{kind}"] = value
            out[name + "self_attn.o_proj.weight"] = layer.out.weight
            out[name + "mlp.gate_proj.weight"], out[name + "mlp.up_proj.weight"] = layer.up.weight.chunk(2)
            out[name + "mlp.down_proj.weight"] = layer.down.weight
            out[name + "input_layernorm.weight"], out[name + "post_attention_layernorm.weight"] = layer.norm1, layer.norm2
        return {name: value.detach().float().contiguous().clone() for name, value in out.items()}


def rank_net(s, t, mask):
    """FIRST's weighted RankNet (papers.md 1.7): mean over pairs that the teacher orders i before j, of ln(1 + exp(s_j -
    s_i)) / (r_i + r_j), ranks from 1. s, t, mask: [lists, passages]; equal teachers' scores are ordered by place."""
    order = torch.argsort(-t.masked_fill(~mask, -1e9), dim=1, stable=True)
    s, n = s.gather(1, order), s.shape[1]
    rank = torch.arange(1, n + 1, device=s.device).float()
    weight = 1 / (rank[:, None] + rank[None])
    some = mask.sum(1)[:, None, None] > torch.arange(n, device=s.device)
    pairs = torch.triu(torch.ones(n, n, dtype=torch.bool, device=s.device), 1)[None] & some.transpose(1, 2) & some
    value = weight * F.softplus(s[:, None, :] - s[:, :, None])
    return (value * pairs).sum() / pairs.sum().clamp(min=1)
