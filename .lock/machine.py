"""Whether TensorFlow has a wheel for this Python and machine; if not, one line says so beforehand."""

import platform
import sys

PYTHONS = ((3, 11), (3, 13))  # the oldest and the newest
MACHINES = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",)}


def refusal(version, system, machine, bits=64, libc=("glibc", "2.28")):
    """One line on what is missing, or nothing."""
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        said = ".".join(map(str, version))
        return f"leukonb runs on Python 3.11, 3.12 and 3.13, and this is {said}: call make PYTHON=python3.12"
    if bits != 64 or machine not in MACHINES.get(system, ()):
        return (
            f"TensorFlow has no package for {system} on {machine}, {bits} bits: use 64-bit Linux on x86_64 "
            "or aarch64, or macOS on Apple silicon; to judge tables only, pip install . is enough"
        )
    name, number = libc
    if system == "Linux" and (name != "glibc" or tuple(map(int, number.split(".")[:2])) < (2, 27)):
        return (
            "TensorFlow needs Linux with glibc 2.27 or newer, such as Debian 10, Ubuntu 18.04 or later; "
            "Alpine will not do"
        )
    return ""


if __name__ == "__main__":
    bits = 64 if sys.maxsize > 2**32 else 32
    sys.exit(
        refusal(sys.version_info[:2], platform.system(), platform.machine(), bits, platform.libc_ver()) or 0
    )
