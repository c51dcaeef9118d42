"""SAM 2 with few seeded weights, as `transformers` keeps it on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIZE = 64


def seeded_sam2(seed: int = 0) -> Any:
    """A model that sees an object in every frame."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    torch.manual_seed(seed)
    cells = [[SIZE // 4] * 2, [SIZE // 8] * 2, [SIZE // 16] * 2]
    widths = [16, 32, 64, 128]
    config = Sam2VideoConfig(
        image_size=SIZE,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "image_size": [SIZE, SIZE],
                "hidden_size": widths[0],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [4, 4, 4, 2],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": cells,
            "fpn_hidden_size": 128,
        },
        prompt_encoder_config={"hidden_size": 128, "image_size": SIZE},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 64, "iou_head_hidden_dim": 64},
        memory_attention_hidden_size=128,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=cells[-1],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=64,
    )
    model = Sam2VideoModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # So large that neighbouring frames, their prompts and their memory can be told by the masks.
            parameter.add_(0.05 * torch.randn_like(parameter))
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(
            model.shared_image_embedding.positional_embedding
        )
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(20.0)
    return model


def seeded_sam2_folder(folder: Path, seed: int = 0) -> Path:
    seeded_sam2(seed).save_pretrained(folder)
    return folder
