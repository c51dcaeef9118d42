"""Points that a tracker follows through the written frames: the first of the providers that can."""

from __future__ import annotations

from pathlib import Path

from animal4d.cues.cache import Provider
from animal4d.cues.chain import failure
from animal4d.cues.tracks import Tracks
from animal4d.data import layout
from animal4d.data.preprocess_work import Work, run_entry, written_clip
from animal4d.data.provenance import Note, entry_note
from animal4d.makers import MakerSettings, tracks_chain


def follow_points(work: Work, images: Note, masks: Note, settings: MakerSettings) -> None:
    """By the first provider that can make them."""
    chain = tracks_chain(settings)
    for place, link in enumerate(chain.links):
        after = chain.links[place + 1 :]
        try:
            _followed(work, images, masks, link.provider)
            return
        except Exception as error:  # code of many versions and authors: the next provider takes over, and it is told
            if link.provider.kind != "pretrained" or not after or chain.must:
                raise
            work.warnings.append(f"{failure(link, error)}: {after[0].name} makes them instead")


def _followed(work: Work, images: Note, masks: Note, provider: Provider[Tracks]) -> None:
    note = entry_note(provider.name, provider.version, config=provider.config(), images=images, masks=masks)

    def make(_: list[Path]) -> str:
        clip = written_clip(work)
        work.tell("following points", 0, 1)
        tracks = provider(clip)
        layout.write_tracking_points(work.place.tracking_points, tracks.points, tracks.visible, clip.crop.original_size)
        return f"{len(tracks)} points, {provider.name}"

    run_entry(work.reports, work.own, "tracking_points", note, [work.place.tracking_points], make)
