#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the sources to the arrows of docs/architecture.md: who includes whom, which folder may use which
library, whose namespace a file opens, how long a file may be, and a few habits. Prints `path:line: what is
wrong` and exits with 1 if anything is.

usage: tools/check_layers.py [ROOT]
"""
import re
import sys
from pathlib import Path

# folder of src/ -> folders it may include, besides itself and base. A new arrow is a new word here, seen in
# review.
ARROWS = {
    "base": "",
    "tensor": "",
    "jinja": "",
    "text": "jinja",
    "metrics": "",
    "net": "",
    "wandb": "metrics net",
    "report": "metrics",
    "hub": "net",
    "comm": "tensor",
    "ops": "tensor",
    "checkpoint": "tensor",
    "data": "text hub net",
    "cpu": "ops tensor",
    "gpu": "ops comm tensor",
    "model": "ops tensor",
    "optim": "ops tensor",
    # other people's formats: settings and named tensors, runs nothing
    "interop": "model checkpoint tensor text",
    "backend": "cpu gpu comm ops tensor",
    "doctor": "backend comm hub net wandb ops tensor",
    # evaluations: items to tokens, a model's likelihoods to scores, on all ranks
    "tasks": "comm model data ops tensor text",
    "generate": "model ops tensor text",
    "train": "comm model optim generate tasks data checkpoint metrics wandb ops tensor text",
    "cli": "comm train generate interop tasks report doctor backend cpu model optim data checkpoint metrics "
           "hub net ops tensor text",
}

# Folders inside of a folder of src/, and the files outside of them that may include them, besides their own.
# They may include their folder's files, not each other.
INNER_FOLDERS = {
    "gpu/portable": "gpu/gpu_ops.cpp",
    "gpu/sm90": "gpu/gpu_ops.cpp",
}

# Their names, which all code shares, are in namespace moe; those of another folder are in moe::FOLDER.
VOCABULARY = {"base", "tensor", "ops"}

# header (an exact name, or a prefix that ends in /) -> the paths below src/ that may include it: exact files,
# folders that end in /, or *.cpp for every source but no header. Headers of test and benchmark libraries have
# none.
LIBRARIES = {
    "yaml-cpp/": "base/config_file.cpp",
    "arrow/": "data/arrow_slices.cpp data/arrow_slices.h",
    "parquet/": "data/parquet_file.cpp data/parquet_file.h",
    "dnnl.hpp": "cpu/gemm.cpp cpu/bf16_products.cpp",
    "dnnl.h": "cpu/gemm.cpp",
    "curl/": "net/",
    "openssl/": "hub/digest.cpp",
    "zlib.h": "data/ wandb/record_file.cpp",
    "wandb_record.pb.h": "wandb/",
    "tensorboard_event.pb.h": "metrics/tensorboard.cpp",
    "sentencepiece_processor.h": "text/sentencepiece_tokenizer.cpp",
    "sentencepiece_model.pb.h": "text/sentencepiece_file.cpp",
    "zstd.h": "data/",
    "CLI/": "cli/",
    "xxhash.h": "checkpoint/ data/",
    "nlohmann/": "base/json.h",
    "utf8proc.h": "text/unicode_form.cpp",
    "oniguruma.h": "text/regex.cpp",
    "fmt/": "*.cpp",
    "cairo.h": "report/picture.cpp",
    "mpi.h": "comm/mpi_present.cpp",
    "nccl.h": "gpu/nccl_communicator.cpp gpu/nccl_library.cpp",
    "immintrin.h": "cpu/",
    "cuda_runtime.h": "gpu/",
    "cuda_bf16.h": "gpu/",
    "cuda_fp8.h": "gpu/portable/fp8.cuh",
    "cuda_fp16.h": "gpu/",
    "cuda.h": "gpu/",
    "cublasLt.h": "gpu/",
    "nvtx3/": "gpu/nvtx.cpp",
    "boost/context/": "",
    "gtest/": "",
    "gmock/": "",
    "benchmark/": "",
    "cblas.h": "",
}
# C and POSIX headers; those of the C++ library have no extension and need no line here.
SYSTEM_HEADERS = set(
    "cpuid.h dirent.h dlfcn.h errno.h fcntl.h glob.h link.h locale.h poll.h pthread.h sched.h signal.h "
    "spawn.h stdlib.h string.h termios.h time.h "
    "unistd.h netdb.h arpa/inet.h linux/mempolicy.h".split())
SYSTEM_PREFIXES = ("sys/", "netinet/")

# Of comments in C++, whose code clang-format lays out, and of all lines of scripts.
COLUMNS = 110
SCRIPT_SUFFIXES = {".py", ".sh", ".cmake"}
SCRIPT_FOLDERS = ("", "src/", "tests/**/", "bench/**/", "fuzz/", "tools/", "scripts/", "cmake/")
SIZE_LIMITS = {".cpp": 500, ".h": 200}  # lines, inclusive: shorter than this
# path -> (limit, reason). Split by noun before adding a line here.
SIZE_EXCEPTIONS = {}

VAGUE_FOLDERS = {"util", "utils", "helper", "helpers", "common", "misc", "shared"}
# Optional parts are other files chosen by CMake: no source asks which device it is compiled for.
DEVICE_CONDITION = re.compile(
    r"^\s*#\s*(if|ifdef|ifndef|elif)\b.*\b(__CUDA\w*|__HIP\w*|MOE_GPU|USE_CUDA|USE_GPU)\b")
# What comes from outside is read with limits: base/json.h.
PARSER_CALL = re.compile(r"\b(?:nlohmann::|(?:Ordered)?Json::(?:parse|sax_parse|accept|from_\w+)\b)")
PARSER_PLACE = "src/base/json."
NAMESPACE = re.compile(r"namespace (moe(?:::\w+)*) \{$")
DECLARATION = re.compile(r"(class|struct|enum class) \w+( : \w+)?;$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCE_SUFFIXES = {".cpp", ".h", ".inc", ".S", ".cu", ".cuh"}
SPDX = "SPDX-License-Identifier: MIT"
# Libraries of their own that stand in for NVIDIA's; the first has files named after CUDA's headers.
EMULATIONS = {("tests", "emulated_cuda"), ("tests", "emulated_nvml")}
# A source that CMake's globs do not find would silently not be compiled.
BUILT_NAMES = {
    "tests": r".*_test\.cpp", "bench": r".*_(bench|tool)\.cpp", "fuzz": r"(.*_fuzz|time_limit)\.cpp"}


def library_of(header):
    for name in LIBRARIES:
        if header == name or (name.endswith("/") and header.startswith(name)):
            return name
    return None


def may_use(library, path):
    """path: below src/, as 'data/parquet.cpp'."""
    for place in LIBRARIES[library].split():
        if path == place or (place.endswith("/") and path.startswith(place)) or (
                place == "*.cpp" and path.endswith(".cpp")):
            return True
    return False


def inner_folder_of(path):
    """path: below src/. The folder of INNER_FOLDERS that it is in, or None."""
    return next((folder for folder in INNER_FOLDERS if path.startswith(folder + "/")), None)


def check_own_include(path, header, root):
    """path: below src/."""
    folder = path.split("/")[0]
    if "/" not in header:
        return f'"{header}": write the path from src/, as "{folder}/{header}"'
    if not (root / "src" / header).exists():
        return f'"{header}" is not below src/; other libraries are included with <>'
    target = header.split("/")[0]
    if target not in {folder, "base", *ARROWS[folder].split()}:
        allowed = ", ".join(["base", *ARROWS[folder].split()])
        return f'{folder} may not include {target} ("{header}"); it may include: {allowed}'
    inner = inner_folder_of(header)
    if inner and inner_folder_of(path) != inner and path not in INNER_FOLDERS[inner].split():
        return f'"{header}" is for {inner} and {INNER_FOLDERS[inner]} only'
    return None


def check_library_include(header, path, in_src):
    library = library_of(header)
    if library:
        if in_src and not may_use(library, path):
            places = LIBRARIES[library] or "nothing in src/"
            return f"<{header}> is for {places} only"
        return None
    if "." not in header or header in SYSTEM_HEADERS or header.startswith(SYSTEM_PREFIXES):
        return None
    return (f"<{header}> is of a library that tools/check_layers.py does not know: "
            "add it to LIBRARIES with its place")


def check_lines(path, root, lines):
    """Includes and preprocessor conditions; path is relative to root. Yields (line number, complaint)."""
    in_src = path.parts[0] == "src"
    below_src = path.relative_to("src").as_posix() if in_src else ""
    for number, line in enumerate(lines, 1):
        if DEVICE_CONDITION.match(line):
            yield number, "no #if on devices: make another file and let CMake choose"
        if in_src and not path.as_posix().startswith(PARSER_PLACE) and PARSER_CALL.search(
            line.split("//")[0]):
            yield number, "JSON is read by parse_json of base/json.h, and called Json or OrderedJson"
        if len(line) > COLUMNS and line.lstrip().startswith("//") and "NOLINT" not in line:
            yield number, f"{len(line)} columns; a comment has at most {COLUMNS}"
        include = INCLUDE.match(line)
        if not include:
            continue
        quote, header = include.groups()
        if quote == "<":
            complaint = check_library_include(header, below_src, in_src)
        else:
            complaint = check_own_include(below_src, header, root) if in_src else None
        if complaint:
            yield number, complaint


def check_namespaces(folder, lines):
    """Another folder's namespace may be opened to declare its classes, no more. Yields (line number,
    complaint)."""
    own = ["moe"] if folder in VOCABULARY else ["moe", folder]
    for number, line in enumerate(lines, 1):
        opened = NAMESPACE.match(line)
        if not opened:
            continue
        names = opened[1].split("::")
        if names[:len(own)] == own and not (folder in VOCABULARY and set(names[1:2]) & ARROWS.keys()):
            continue
        end = next((i for i in range(number, len(lines)) if not DECLARATION.match(lines[i])), number)
        if end == number or not lines[end].startswith("}"):
            yield number, f"namespace {opened[1]}: the names of src/{folder} are in {'::'.join(own)}"


def check_place(path, known_tests):
    """Folders and names; yields complaints."""
    top = path.parts[0]
    for folder in path.parts[:-1]:
        if folder.lower() in VAGUE_FOLDERS:
            yield f"a folder called {folder} says nothing: name it after what it holds"
    if top == "src":
        if len(path.parts) < 3:
            yield "sources live in a folder of src/"
        elif path.parts[1] not in ARROWS:
            yield f"src/{path.parts[1]} has no line in ARROWS of tools/check_layers.py"
        elif path.suffix == ".cpp" and len(path.parts) > 3:
            yield "CMake builds src/FOLDER/*.cpp only: move this file up"
        elif len(path.parts) > 3 and "/".join(path.parts[1:-1]) not in INNER_FOLDERS:
            if path.parts[2].lower() not in VAGUE_FOLDERS:
                yield f"{path.parent} has no line in INNER_FOLDERS of tools/check_layers.py"
    elif path.suffix == ".cpp" and path.parts[:2] not in EMULATIONS:
        if not re.fullmatch(BUILT_NAMES[top], path.name):
            yield f"CMake builds {top}/ files by name: it must match {BUILT_NAMES[top]}"
        elif top == "tests" and (len(path.parts) != 3 or path.parts[1] not in known_tests):
            yield "tests/CMakeLists.txt does not build this folder: add a line moe_tests(...)"


def check_file(path, root, known_tests):
    """Yields (line number, complaint) for one file; path is relative to root."""
    misplaced = [(1, complaint) for complaint in check_place(path, known_tests)]
    yield from misplaced
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    if not lines or SPDX not in lines[0]:
        yield 1, f"the first line must be: // {SPDX}"
    limit, _ = SIZE_EXCEPTIONS.get(path.as_posix(), (SIZE_LIMITS.get(path.suffix), ""))
    if limit is not None and len(lines) >= limit:
        yield len(lines), f"{len(lines)} lines; a {path.suffix} file has fewer than {limit}. Split it by noun"
    if not (misplaced and path.parts[0] == "src"):
        yield from check_lines(path, root, lines)
        if path.parts[0] == "src":
            yield from check_namespaces(path.parts[1], lines)


def check_scripts(root):
    """Yields the complaints about Python, shell and CMake."""
    for folder in SCRIPT_FOLDERS:
        for file in sorted(root.glob(folder + "*")):
            if file.suffix not in SCRIPT_SUFFIXES and file.name != "CMakeLists.txt":
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if len(line) > COLUMNS:
                    path = file.relative_to(root)
                    yield f"{path}:{number}: {len(line)} columns; a line of a script has at most {COLUMNS}"


def check_tree(root):
    """Returns all complaints below root, as 'path:line: text'."""
    tests_list = root / "tests" / "CMakeLists.txt"
    known_tests = set(re.findall(r"^ *moe_tests\((\w+)", tests_list.read_text(), re.MULTILINE)) if (
        tests_list.exists()) else set()
    complaints = []
    for top in ("src", "tests", "bench", "fuzz"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix in SOURCE_SUFFIXES and file.is_file():
                path = file.relative_to(root)
                complaints += [f"{path}:{line}: {text}" for line, text in check_file(path, root, known_tests)]
    complaints += check_scripts(root)
    for exception in SIZE_EXCEPTIONS:
        if not (root / exception).exists():
            complaints.append(f"tools/check_layers.py:1: SIZE_EXCEPTIONS names {exception}, which is gone")
    return complaints


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    complaints = check_tree(root)
    print("\n".join(complaints) if complaints else "check_layers: clean")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
