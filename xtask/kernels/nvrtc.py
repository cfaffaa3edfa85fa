"""Compiles a CUDA C++ file to PTX with NVRTC from its PyPI wheel. Needs no card, no driver and no toolkit.

usage: nvrtc.py SOURCE PTX OPTION...
"""

import ctypes
import pathlib
import sys

import nvidia.cuda_nvrtc


def library():
    folder = pathlib.Path(list(nvidia.cuda_nvrtc.__path__)[0])
    names = [*folder.glob("lib/libnvrtc.so.*"), *folder.glob("bin/nvrtc64_*.dll")]
    return ctypes.CDLL(str([name for name in names if "alt" not in name.name][0]))


def text(nvrtc, program, what):
    size = ctypes.c_size_t()
    check(getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    check(getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
    return buffer.value.decode()


def check(status):
    if status != 0:
        sys.exit(f"NVRTC failed with status {status}")


def main(source, ptx, *options):
    nvrtc, program = library(), ctypes.c_void_p()
    code, name = pathlib.Path(source).read_bytes(), pathlib.Path(source).name.encode()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, name, 0, None, None))
    options = [option.encode() for option in options]
    status = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    log = text(nvrtc, program, "ProgramLog").strip()
    if log:
        print(log, file=sys.stderr)
    check(status)
    pathlib.Path(ptx).write_text(text(nvrtc, program, "PTX"), encoding="utf-8", newline="\n")


main(*sys.argv[1:])
