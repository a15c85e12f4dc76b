"""Vision transformers (Dosovitskiy et al., "An image is worth 16x16 words", 2021), with the names of timm's state dicts.

The defaults are ViT-Tiny (Touvron et al., 2021): ``vit_tiny_patch16_224``, 12 layers of width 192 with 3 heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-6  # of every LayerNorm


class PatchEmbed(nn.Module):
    """One token per patch: a convolution whose stride is its kernel."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Attention and an MLP, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches and a class token through equal blocks; the class token gives the logits."""

    def __init__(
        self,
        size: tuple[int, int] = (224, 224),
        patch: int = 16,
        width: int = 192,
        heads: int = 3,
        depth: int = 12,
        hidden: int = 768,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        tokens = (size[0] // patch) * (size[1] // patch) + 1
        self.patch_embed = PatchEmbed(patch, width)
        self.cls_token = nn.Parameter(0.2 * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(0.2 * torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])
