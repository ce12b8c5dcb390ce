#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots one Debian kernel in qemu and lets run_cases.py run in it.

    boot.py (--package FILE.deb | --unpacked FOLDER) --root ROOT.img --tests TESTS.img --events FILE --console FILE
            [--machine x86_64|aarch64] [--accel tcg|kvm] [--memory MIB] [--silence SECONDS]
            -- [arguments of run_cases.py]

The kernel comes out of the package, which is unpacked and not installed, or lies in a folder where its package and
busybox-static were unpacked. ROOT.img is a Debian root, TESTS.img what collect.py made; both are ext4, and nothing is
written back to either. The events come through a second serial port, and are added to FILE. Exit code: 0 if the run
got to its end; 1 if the guest died, said nothing for --silence seconds, or reported a fault of the kernel (the
console's lines are printed).
"""

import argparse
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

# What the guest needs before it has a disk, and what tests need that is a module in some kernel.
_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "fuse")
# The program, the processor, the console, and where the events come out, by the guest's machine.
_MACHINES = {
    "x86_64": (["qemu-system-x86_64", "-cpu", "max"], "ttyS0", ["-serial", "chardev:events"]),
    # Pointers are signed by something faster than what the architecture proposes.
    "aarch64": (["qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "max,pauth-impdef=on"], "ttyAMA0",
                ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=events"]),
}
_KERNEL_FAULT = re.compile(r"\bBUG:|\bOops\b|Kernel panic|general protection fault|WARNING: CPU|soft lockup|rcu.*stall")

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
ifconfig lo 127.0.0.1 up
mount -t ext4 /dev/vda /new
mkdir -p /new/mnt
mount -t ext4 -o ro /dev/vdb /new/mnt
exec switch_root /new /bin/sh /mnt/guest_init.sh
"""


def kernel_in(folder):
    """The kernel's path, and that of its modules."""
    kernel = next(n for n in os.listdir(folder + "/boot") if n.startswith("vmlinuz-"))
    release = kernel.removeprefix("vmlinuz-")
    for modules in (f"{folder}/lib/modules/{release}", f"{folder}/usr/lib/modules/{release}"):
        if os.path.isdir(modules):
            return f"{folder}/boot/{kernel}", modules
    sys.exit(f"boot: no modules for {kernel}")


def modules_in_order(modules):
    """[(name, bytes)], each after what it depends on; what is built in is left out."""
    paths = {}
    for folder, _, names in os.walk(modules):
        for name in names:
            match = re.fullmatch(r"(.*)\.ko(\.xz)?", name)
            if match:
                paths[match.group(1).replace("-", "_")] = os.path.join(folder, name)
    order, seen = [], set()

    def add(name):
        if name in seen or name not in paths:
            return
        seen.add(name)
        with open(paths[name], "rb") as file:
            data = file.read()
        if paths[name].endswith(".xz"):
            data = lzma.decompress(data)
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in (depends.group(1).decode() if depends else "").split(","):
            if needed:
                add(needed.replace("-", "_"))
        order.append((name, data))

    for name in _MODULES:
        add(name)
    return order


class Cpio:
    """The format of an initramfs ("newc")."""

    def __init__(self):
        self._parts, self._inode = [], 0

    def add(self, name, mode, data=b""):
        self._inode += 1
        fields = [self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        entry = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        entry += b"\0" * (-len(entry) % 4)
        self._parts.append(entry + data + b"\0" * (-len(data) % 4))

    def bytes(self):
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def initramfs(busybox, modules):
    cpio = Cpio()
    for folder in ("bin", "dev", "proc", "sys", "new", "modules"):
        cpio.add(folder, 0o40755)
    with open(busybox, "rb") as file:
        cpio.add("bin/busybox", 0o100755, file.read())
    for name, data in modules:
        cpio.add(f"modules/{name}.ko", 0o100644, data)
    cpio.add("modules/order", 0o100644, "".join(f"{name}.ko\n" for name, _ in modules).encode())
    cpio.add("init", 0o100755, _INIT.encode())
    return cpio.bytes()


class Progress:
    """A line for each program and each case that did not pass, while the guest runs."""

    def __init__(self, path):
        self._file = open(path, encoding="utf-8", errors="replace")
        self._file.seek(0, os.SEEK_END)
        self._pending = ""
        self.ended, self.target = False, ""

    def poll(self):
        """Whether anything came."""
        text = self._file.read()
        self._pending += text
        *lines, self._pending = self._pending.split("\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if "place" in event:
                print(f"  {event['place'].get('version', '')}", file=sys.stderr, flush=True)
            elif "begin" in event:
                self.target = event["begin"]
                print(f"  {self.target}", file=sys.stderr, flush=True)
            elif "case" in event and (event["result"] == "failed" or event["tries"] > 1):
                print(f"    {event['result']} (try {event['tries']}): {event['case']}: {event['why'][:300]}",
                      file=sys.stderr, flush=True)
            elif "end" in event:
                self.ended = True
        return bool(text)


def main():
    parser = argparse.ArgumentParser()
    kernel_from = parser.add_mutually_exclusive_group(required=True)
    kernel_from.add_argument("--package")
    kernel_from.add_argument("--unpacked")
    parser.add_argument("--machine", choices=sorted(_MACHINES), default="x86_64")
    parser.add_argument("--root", required=True)
    parser.add_argument("--tests", required=True)
    parser.add_argument("--events", required=True)
    parser.add_argument("--console", required=True)
    parser.add_argument("--accel", choices=("tcg", "kvm"), default="tcg")
    parser.add_argument("--memory", type=int, default=3072)
    parser.add_argument("--silence", type=float, default=1800)
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="boot") as folder:
        if options.package:
            subprocess.run(["dpkg-deb", "-x", options.package, folder], check=True)
        kernel, modules = kernel_in(options.unpacked or folder)
        busybox = f"{options.unpacked}/bin/busybox" if options.unpacked else shutil.which("busybox")
        with open(f"{folder}/initrd", "wb") as out:
            out.write(initramfs(busybox, modules_in_order(modules)))
        drives = []
        for image in (options.root, options.tests):
            drives += ["-drive", f"file={image},if=virtio,format=raw,snapshot=on"]
        program, console, events = _MACHINES[options.machine]
        append = f"console={console} panic=-1 quiet loglevel=5 -- " + " ".join(options.arguments)
        qemu = subprocess.Popen(
            [*program, "-accel", {"tcg": "tcg,thread=multi"}.get(options.accel, options.accel), "-smp", "2",
             "-m", str(options.memory), "-kernel", kernel, "-initrd", f"{folder}/initrd", "-append", append,
             *drives, "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none",
             "-serial", f"file:{options.console}",
             "-chardev", f"file,id=events,append=on,path={options.events}", *events],
            stdin=subprocess.DEVNULL,
        )
        progress, last, stopped = Progress(options.events), time.monotonic(), ""
        try:
            while qemu.poll() is None:
                time.sleep(0.5)
                if progress.poll():
                    last = time.monotonic()
                elif time.monotonic() - last > options.silence:
                    stopped = f"no word for {options.silence:.0f} s, last from {progress.target or 'the boot'}"
                    break
        finally:
            qemu.kill()
            qemu.wait()
        progress.poll()
    with open(options.console, encoding="utf-8", errors="replace") as console:
        lines = console.read().splitlines()
    faults = [line for line in lines if _KERNEL_FAULT.search(line)]
    if not progress.ended:
        print(f"boot: the guest did not get to the end ({stopped or 'it stopped'})", file=sys.stderr)
        print("\n".join(lines[-20:]), file=sys.stderr)
        return 1
    if faults:
        print("boot: the guest's kernel reported:", file=sys.stderr)
        print("\n".join(faults[:20]), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
