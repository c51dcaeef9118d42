"""SAM 2 (Ravi et al. 2024, arXiv 2408.00714) through a video: from a prompt in one frame to masks in those that follow.

The network comes from `transformers`; pictures are brought to its size and its masks back to the frame's here, so that
torchvision is not needed. Frames are shown one by one, and of what was seen only as much is kept as its memory looks
at: prompted frames, and the last few.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from animal4d.pretrained.batches import normalized, resized
from animal4d.pretrained.transformers_folder import read_network

_CLASSES = {"sam2_video": "Sam2VideoModel"}
_COPIES = {"prompt_encoder.shared_embedding.positional_embedding": "shared_image_embedding.positional_embedding"}
"""One encoding of places for pictures and prompts; published files hold it once."""
_ON_OBJECT, _BOX_TOP_LEFT, _BOX_BOTTOM_RIGHT = 1, 2, 3
"""Labels of prompted points."""
_ANIMAL = 1
"""Number of the one object that is followed."""
_LARGEST_LOGIT = 30.0


@dataclass(frozen=True)
class Prompt:
    """Where the object is in a frame, in pixels of the frame (x, y; the first pixel's centre is at 0.5)."""

    box: tuple[float, float, float, float] | None = None
    """x, y, width, height."""
    points: tuple[tuple[float, float], ...] = ()
    """On the object."""

    def in_network(
        self, frame_size: tuple[int, int], network_size: int
    ) -> tuple[Float[Tensor, "1 1 points 2"], Float[Tensor, "1 1 points"]]:
        """Points and their labels as the network reads them: both sides of the frame become `network_size` pixels."""
        places, labels = [], []
        if self.box is not None:
            x, y, width, height = self.box
            places += [(x, y), (x + width, y + height)]
            labels += [_BOX_TOP_LEFT, _BOX_BOTTOM_RIGHT]
        places += self.points
        labels += [_ON_OBJECT] * len(self.points)
        scale = torch.tensor((network_size / frame_size[1], network_size / frame_size[0]))
        # The network counts pixels from the centre of the first one.
        pixels = torch.tensor(places, dtype=torch.float32) * scale - 0.5
        return pixels[None, None], torch.tensor(labels, dtype=torch.int32)[None, None]


@dataclass(frozen=True, eq=False)
class Sam2:
    """A network ready to follow objects."""

    network: Any
    device: torch.device

    def follow(self) -> Sam2Track:
        """A new object, to be prompted in the first frame that is shown."""
        return Sam2Track(self)


class Sam2Track:
    """One object through frames that are shown in order: of time, or backwards."""

    def __init__(self, sam2: Sam2) -> None:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        self._network, self._device = sam2.network, sam2.device
        self._session: Any = Sam2VideoInferenceSession(
            inference_device=sam2.device,
            inference_state_device=sam2.device,
            video_storage_device=sam2.device,
            dtype=torch.float32,
        )
        self._object = self._session.obj_id_to_idx(_ANIMAL)
        self._count = 0
        config = sam2.network.config
        self._memory = max(config.num_maskmem, config.max_object_pointers_in_encoder)

    def see(self, image: NDArray[np.uint8], prompt: Prompt | None = None) -> Float[Tensor, "rows columns"] | None:
        """Logits of the object in the next frame (height, width, 3), over the whole frame at the network's own
        resolution; None where it is not to be seen.

        The first frame needs a prompt. In a later one a prompt says where the object is, whatever was thought before.
        """
        if prompt is None and self._count == 0:
            raise ValueError("the first frame needs a prompt")
        session, index = self._session, self._count
        size = self._network.config.image_size
        if prompt is not None:
            points, labels = prompt.in_network(image.shape[:2], size)
            session.video_height, session.video_width = image.shape[:2]
            session.add_point_inputs(self._object, index, {"point_coords": points, "point_labels": labels})
            session.obj_with_new_inputs = [_ANIMAL]
        pixels = torch.tensor(image)[None]  # a copy: sources give pictures that must not be written to
        picture = normalized(resized(pixels, (size, size), "bilinear", self._device))
        output = self._network(inference_session=session, frame=picture, frame_idx=index)
        self._forget(index)
        self._count += 1
        logits = output.pred_masks[0, 0].float().clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT).cpu()
        return logits if bool((logits > 0).any()) else None

    def correct(self, image: NDArray[np.uint8], prompt: Prompt) -> Float[Tensor, "rows columns"] | None:
        """Look at the last frame again, with a prompt; what was thought of it is forgotten."""
        self._count -= 1
        outputs = self._session.output_dict_per_obj[self._object]
        for kept in (outputs["cond_frame_outputs"], outputs["non_cond_frame_outputs"]):
            kept.pop(self._count, None)
        self._session.frames_tracked_per_obj[self._object].pop(self._count, None)
        return self.see(image, prompt)

    def _forget(self, index: int) -> None:
        """Everything that no later frame will look at."""
        session = self._session
        session.processed_frames.clear()
        session.cache.clear_all()
        outputs = session.output_dict_per_obj[self._object]
        for old in [frame for frame in outputs["non_cond_frame_outputs"] if frame <= index - self._memory]:
            del outputs["non_cond_frame_outputs"][old]
        for kept in outputs.values():
            for output in kept.values():
                for name in ("high_res_masks", "pred_masks"):
                    output.pop(name, None)


def read_sam2(folder: Path, device: torch.device | str = "cpu") -> Sam2:
    """The network in a folder as `transformers` keeps it. Raises Animal4dError as `read_network`."""
    where = torch.device(device)
    return Sam2(read_network(folder, _CLASSES, "SAM 2", where, _COPIES), where)
