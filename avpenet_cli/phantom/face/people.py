"""Persons that can be rendered: the interface, and persons from head meshes, built in or loaded from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.renderer import NO_COVER, Frame, MeshRenderer, View
from avpenet_cli.phantom.head.built_in import built_in_head
from avpenet_cli.phantom.head.loading import load_head
from avpenet_cli.phantom.head.model import AgeGroup, Expression, Float, HeadModel, Look
from avpenet_cli.phantom.makehuman.faces import PhotographicFaces
from avpenet_cli.phantom.photographs.source import Photographs, is_photographs


class FaceRenderer(Protocol):
    """Renders one person. Preparation is expensive; a frame is not."""

    def frame(self, expression: Expression, view: View, background: Frame, cover: Cover = NO_COVER) -> Frame:
        """Render one frame.

        Args:
            expression: action units.
            view: camera, pose and light.
            background: (height, width, 3) uint8 RGB behind the person; not modified.
            cover: object that covers part of the face.

        Returns:
            (height, width, 3) uint8 RGB.

        Raises:
            SettingsError: the sizes of background and view differ.
        """
        ...

    def landmarks_px(self, expression: Expression, view: View) -> Float:
        """Where the landmarks of a face detector are, whether visible or hidden.

        Returns:
            (5, 2) float32 x and y in pixels of the frame: the two eye centres (the image's left first), the tip of the
            nose, the two corners of the mouth (the image's left first).
        """
        ...


class FaceSource(Protocol):
    """A source of persons: head meshes, built in or loaded, or photographs."""

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """The age groups of this source."""
        ...

    def renderer(self, look: Look) -> FaceRenderer:
        """Prepare a person; `look.identity` chooses among the source's, and the same look gives the same bytes.

        Raises:
            SettingsError: the source has nobody of that age group.
        """
        ...


@dataclass(frozen=True)
class MeshFaces:
    """Persons whose skin is painted on a head mesh."""

    head: HeadModel

    @property
    def age_groups(self) -> tuple[AgeGroup, ...]:
        """The age groups of the head model."""
        return self.head.age_groups

    def renderer(self, look: Look) -> FaceRenderer:
        """Prepare a person."""
        return MeshRenderer(self.head, look)


def built_in_faces() -> FaceSource:
    """The persons that need no files."""
    return MeshFaces(built_in_head())


def load_faces(path: Path) -> FaceSource:
    """Load persons from the path of `phantom make --head-model`.

    Args:
        path: a folder of photographs with points; the ICT-FaceKit light model (.npz); or a folder with MakeHuman's base
            mesh (3dobjs/base.obj) and targets/. Persons have photographic skin if the same folder has MakeHuman's
            skins/, hair/, eyes/, eyebrows/, eyelashes/, teeth/ and tongue/, or if `path` has a folder for each.

    Raises:
        SettingsError: the path does not exist, or holds nothing to make persons from; see `load_head`.
    """
    if is_photographs(path):
        return Photographs(path)
    meshes, skins = _folder_with(path, "3dobjs/base.obj"), _folder_with(path, "skins")
    return PhotographicFaces(meshes, skins) if meshes and skins else MeshFaces(load_head(meshes or path))


def _folder_with(path: Path, name: str) -> Path | None:
    """The folder, or the first in it, that has a file or folder `name`."""
    if not path.is_dir():
        return None
    inside = sorted(folder for folder in path.iterdir() if folder.is_dir())
    return next((folder for folder in (path, *inside) if (folder / name).exists()), None)
