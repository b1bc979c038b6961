#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""The lives of the golden images in a directory: candidate, current, previous, deprecated, gone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_directory
short_description: List, promote, deprecate and delete the golden images in a directory
description:
  - An image is a directory with a C(manifest.json). Its stage is kept in the directory itself, where other programs can
    use it, too. The links C(<name>.current) and C(<name>.previous) point at the images of that name in these stages.
    A file C(deprecated.json) in an image says since when and why no new machine should start from it. Every other
    image is a candidate.
  - An image is in use while it is mounted anywhere, or while a link in its C(users/) leads back to the image. Whoever
    makes a machine of an image puts a link C(users/<machine>) there, to a link that goes with the machine and points
    at the image.
  - Changes happen under a lock of the directory; a deletion that was killed is finished by the next one.
  - A directory whose name ends with C(.building) is no image yet. One whose manifest cannot be read is left out, with a
    warning; it can only be deleted.
options:
  directory:
    description: Where the images are.
    type: path
    required: true
  action:
    description:
      - C(list) changes nothing.
      - C(promote) makes O(image) the current one of its name, and the current one the previous. The previous one can be
        promoted again, which is the way back. Neither an expired nor a deprecated image is promoted.
      - C(deprecate) says of O(image) that no new machine should start from it. The current one is not deprecated.
      - C(delete) removes O(image), if it is neither current nor in use.
      - C(prune) removes what nothing needs - images that are neither current nor previous, that are not in use, that
        are not among the O(keep) last used of their name that are not deprecated, and that were last used more than
        O(unused_hours) ago.
    type: str
    choices: [list, promote, deprecate, delete, prune]
    default: list
  image:
    description: The directory of the image, by its name; needed to promote, deprecate and delete.
    type: str
  reason:
    description: Why it is deprecated.
    type: str
    default: ""
  keep:
    description: How many images of each name pruning leaves in any case.
    type: int
    default: 2
  unused_hours:
    description: For how long pruning leaves an image alone that nobody uses; somebody may be about to start from it.
    type: int
    default: 2
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Promote an image
  hybrid.platform.image_directory:
    directory: /var/lib/images
    action: promote
    image: debian-13-0123456789abcdef
"""

RETURN = r"""
images:
  description:
    - The images after the action, each with C(image), C(name), C(release), C(stage), C(built), C(expires), C(expired),
      C(deprecated) (the reason, or null) and C(users).
  returned: always
  type: list
  elements: dict
machines_on_expired_images:
  description: What runs on an image that has expired, each with C(machine), C(image) and C(expires).
  returned: always
  type: list
  elements: dict
removed:
  description: The images that were, or in check mode would be, removed.
  returned: always
  type: list
  elements: str
"""

import contextlib
import datetime
import fcntl
import glob
import json
import os
import re
import shutil
import time

from ansible.module_utils.basic import AnsibleModule

MANIFEST, DEPRECATED, USERS, LOCK = "manifest.json", "deprecated.json", "users", ".lifecycle.lock"
GONE, UNFINISHED = ".removing", ".building"


class Refused(Exception):
    """The image must not be changed so; str() says why."""


def mounted(path):
    """Whether something below the path is mounted or is a layer of a mount, in any mount namespace.

    By its name alone: where a bind mount is listed its path begins at the root of its file system, wherever that is.
    """
    seen = set()
    # The image itself or something in it, as a path or as one of the layers in an overlay's options.
    needle = re.compile(rf"/{re.escape(os.path.basename(path))}(?=[/:,\s])")
    for process in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            namespace = os.readlink(f"{process}/ns/mnt")
            if namespace not in seen:
                seen.add(namespace)
                with open(f"{process}/mountinfo") as mounts:
                    if any(needle.search(line) for line in mounts):
                        return True
    return False


def users(path):
    """The machines of an image, by the names of the links that lead back to it."""
    links = sorted(glob.glob(os.path.join(glob.escape(path), USERS, "*")))
    return [os.path.basename(link) for link in links if os.path.realpath(link) == os.path.realpath(path)]


class Images:
    """The images of a directory, as they are now; `broken` says of the others why they are none, by name."""

    def __init__(self, directory, now):
        self.directory = directory
        self.now = now
        self.all, self.broken = {}, {}
        for file in sorted(glob.glob(os.path.join(glob.escape(directory), "*", MANIFEST))):
            path = os.path.dirname(file)
            if os.path.islink(path) or path.endswith((GONE, UNFINISHED)):
                continue
            try:
                self.all[os.path.basename(path)] = self._read(path)
            except FileNotFoundError:
                pass  # listing takes no lock: somebody may remove the image right now
            except (KeyError, TypeError, ValueError) as error:
                self.broken[os.path.basename(path)] = repr(error)

    def _read(self, path):
        with open(os.path.join(path, MANIFEST)) as file:
            manifest = json.load(file)
        deprecated = None
        with contextlib.suppress(FileNotFoundError), open(os.path.join(path, DEPRECATED)) as file:
            deprecated = json.load(file)["reason"]
        name, image = manifest["name"], os.path.basename(path)
        if "/" in str(name):
            raise ValueError(f"no link can be named after {name}")
        stages = [stage for stage in ("current", "previous") if self.staged(name, stage) == image]
        return {
            "image": image,
            "name": name,
            "release": manifest["release"],
            "stage": (stages + ["candidate" if deprecated is None else "deprecated"])[0],
            "built": manifest["built"],
            "expires": manifest["expires"],
            "expired": datetime.datetime.fromisoformat(manifest["expires"]) <= self.now,
            "deprecated": deprecated,
            "users": users(path),
        }

    def path(self, image):
        return os.path.join(self.directory, image)

    def link(self, name, stage):
        return os.path.join(self.directory, f"{name}.{stage}")

    def staged(self, name, stage):
        """The image in a stage, or None."""
        with contextlib.suppress(OSError):
            return os.readlink(self.link(name, stage))
        return None

    def links_to(self, image, stage):
        """The links by which the image is in a stage, whatever its manifest says."""
        links = glob.glob(os.path.join(glob.escape(self.directory), f"*.{stage}"))
        return [link for link in links if os.path.islink(link) and os.readlink(link) == image]

    def known(self, image):
        if image not in self.all and image not in self.broken:
            there = ", ".join(sorted([*self.all, *self.broken])) or "none"
            raise Refused(f"there is no image {image} in {self.directory}; there are {there}")

    def one(self, image):
        self.known(image)
        if image in self.broken:
            raise Refused(f"the manifest of {image} cannot be read: {self.broken[image]}")
        return self.all[image]

    def in_use(self, image):
        return bool(users(self.path(image))) or mounted(os.path.realpath(self.path(image)))

    def expired_machines(self):
        return [
            {"machine": machine, "image": image["image"], "expires": image["expires"]}
            for image in self.all.values()
            if image["expired"]
            for machine in image["users"]
        ]

    def unneeded(self, keep, unused_hours):
        """What pruning removes."""
        found = []
        for name in sorted({image["name"] for image in self.all.values()}):
            mine = [one["image"] for one in self.all.values() if one["name"] == name]
            last_used = {image: os.stat(self.path(image)).st_mtime for image in mine}
            mine.sort(key=last_used.get, reverse=True)
            wanted = [image for image in mine if self.all[image]["deprecated"] is None][:keep]
            for image in [image for image in mine if image not in wanted]:
                staged = self.all[image]["stage"] in ("current", "previous")
                rested = self.now.timestamp() - last_used[image] > unused_hours * 3600
                if rested and not staged and not self.in_use(image):
                    found.append(image)
        return found


def point(link, image):
    """Make the link point at the image, in one step."""
    unfinished = f"{link}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished)  # of somebody who was killed: whoever changes something has the lock
    os.symlink(image, unfinished)
    os.replace(unfinished, link)


def promote(images, image, check):
    one = images.one(image)
    current = images.staged(one["name"], "current")
    if current == image:
        return False
    if one["deprecated"] is not None:
        raise Refused(f"{image} is deprecated: {one['deprecated']}")
    if one["expired"]:
        raise Refused(f"{image} expired on {one['expires']}; build a new one")
    if not check:
        # In this order, a kill between the two leaves the old image twice and never none.
        if current in images.all:
            point(images.link(one["name"], "previous"), current)
        elif images.staged(one["name"], "previous") == image:
            os.unlink(images.link(one["name"], "previous"))
        point(images.link(one["name"], "current"), image)
    return True


def deprecate(images, image, reason, check):
    one = images.one(image)
    if one["stage"] == "current":
        raise Refused(f"{image} is the current one; promote another one first")
    # Whoever was killed in between has left it the previous one.
    if one["deprecated"] == reason and one["stage"] != "previous":
        return False
    if not check:
        path = images.path(image)
        last_used = os.stat(path)
        unfinished = os.path.join(path, f".{DEPRECATED}")
        with open(unfinished, "w") as file:
            json.dump({"reason": reason, "since": images.now.isoformat()}, file)
        os.replace(unfinished, os.path.join(path, DEPRECATED))
        os.utime(path, ns=(last_used.st_atime_ns, last_used.st_mtime_ns))
        if one["stage"] == "previous":
            os.unlink(images.link(one["name"], "previous"))
    return True


def check_deletable(images, image):
    images.known(image)
    if images.links_to(image, "current"):
        raise Refused(f"{image} is the current one; promote another one first")
    if images.in_use(image):
        machines = ", ".join(users(images.path(image))) or "a mount"
        raise Refused(f"{image} is in use by {machines}")


def remove(images, image):
    for link in images.links_to(image, "previous"):
        os.unlink(link)
    # Nobody starts from half an image: it loses its name first.
    gone = images.path(image) + GONE
    os.rename(images.path(image), gone)
    shutil.rmtree(gone)


def half_removed(directory):
    """What a deletion that was killed has left, by the names that the images had."""
    leftovers = glob.glob(os.path.join(glob.escape(directory), f"*{GONE}"))
    return [os.path.basename(leftover).removesuffix(GONE) for leftover in leftovers]


@contextlib.contextmanager
def locked(directory, wait=300.0):
    with open(os.path.join(directory, LOCK), "w") as lock:
        ends = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise Refused(f"another run has been changing {directory} for {wait:.0f} s") from None
                time.sleep(0.1)
        yield


def act(images, parameters, check):
    """Whether something changes, and what is removed."""
    action, image = parameters["action"], parameters["image"]
    if action == "promote":
        return promote(images, image, check), []
    if action == "deprecate":
        return deprecate(images, image, parameters["reason"], check), []
    begun, doomed = half_removed(images.directory), []
    if action == "delete" and (image not in begun or os.path.isdir(images.path(image))):
        check_deletable(images, image)
        doomed = [image]
    elif action == "prune":
        doomed = images.unneeded(parameters["keep"], parameters["unused_hours"])
    if not check:
        for one in begun:
            shutil.rmtree(images.path(one) + GONE)
        for one in doomed:
            remove(images, one)
    return bool(begun + doomed), begun + doomed


def main():
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "action": {"choices": ["list", "promote", "deprecate", "delete", "prune"], "default": "list"},
            "image": {"type": "str"},
            "reason": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 2},
            "unused_hours": {"type": "int", "default": 2},
        },
        required_if=[("action", action, ["image"]) for action in ("promote", "deprecate", "delete")],
        supports_check_mode=True,
    )
    directory = module.params["directory"]
    now = datetime.datetime.now(datetime.UTC)
    changed, removed = False, []
    try:
        if not os.path.isdir(directory):
            raise Refused(f"there is no directory {directory}; the playbook takes another one as image_directory")
        if module.params["keep"] < 0:
            raise Refused(f"{module.params['keep']} images cannot be kept; 0 keeps none that nothing needs")
        if module.params["action"] != "list":
            with locked(directory):
                changed, removed = act(Images(directory, now), module.params, module.check_mode)
        images = Images(directory, now)
    except Refused as refused:
        module.fail_json(msg=str(refused))
    for image, reason in images.broken.items():
        module.warn(f"{image} is left out, since its manifest cannot be read: {reason}")
    module.exit_json(
        changed=changed,
        removed=removed,
        images=list(images.all.values()),
        machines_on_expired_images=images.expired_machines(),
    )


if __name__ == "__main__":
    main()
