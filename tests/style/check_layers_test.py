#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/check_layers.py catches what it promises to catch: each case is a small tree with one thing wrong."""
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
sys.dont_write_bytecode = True
import check_layers  # noqa: E402

SPDX = "// SPDX-License-Identifier: MIT\n"


class CheckLayers(unittest.TestCase):
    def complaints(self, files, spdx=SPDX):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            files = {"tests/CMakeLists.txt": "moe_tests(ops moe_ops)\n", "src/ops/ops.h": "",
                     "src/base/error.h": "", "src/tensor/tensor.h": "", "src/model/model.h": "", **files}
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text if name.endswith(".txt") else spdx + text)
            return check_layers.check_tree(root)

    def assert_one(self, files, pattern, **options):
        found = self.complaints(files, **options)
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], pattern)

    def test_a_clean_tree_is_clean(self):
        self.assertEqual(self.complaints({
            "src/model/a.cpp": '#include "ops/ops.h"\n#include "base/error.h"\n'
                               "#include <vector>\n#include <fmt/core.h>\n",
            "tests/ops/a_test.cpp": '#include "ops/ops.h"\n#include <gtest/gtest.h>\n'}), [])

    def test_an_arrow_back_is_caught(self):
        self.assert_one({"src/ops/a.h": '#include <vector>\n#include "model/model.h"\n'},
                        r"src/ops/a\.h:3: ops may not include model")

    def test_spaces_do_not_hide_an_arrow(self):
        self.assert_one({"src/tensor/a.h": '  #  include  "ops/ops.h"\n'}, "tensor may not include ops")

    def test_base_includes_nothing_of_ours(self):
        self.assert_one({"src/base/a.cpp": '#include "tensor/tensor.h"\n'}, "base may not include tensor")

    def test_a_relative_include_is_caught(self):
        self.assert_one({"src/ops/a.cpp": '#include "ops.h"\n'}, "write the path from src/")

    def test_a_library_stays_in_its_place(self):
        self.assert_one({"src/data/other.cpp": "#include <arrow/api.h>\n"},
                        r"<arrow/api\.h> is for data/arrow_slices\.cpp .* only")
        self.assert_one({"src/ops/a.h": "#include <fmt/core.h>\n"}, r"is for \*\.cpp only")
        self.assert_one({"src/ops/a.cpp": "#include <gtest/gtest.h>\n"}, "is for nothing in src/ only")

    def test_json_is_read_in_one_place(self):
        self.assertEqual(self.complaints(
            {"src/base/json.h": "#include <nlohmann/json.hpp>\nusing Json = nlohmann::json;\n"}), [])
        self.assert_one({"src/model/a.cpp": "#include <nlohmann/json.hpp>\n"}, "is for base/json.h only")
        for call in ("Json::parse(text)", "OrderedJson::accept(text)", "nlohmann::json::parse(text)"):
            self.assert_one({"src/model/a.cpp": f"auto json = {call};\n"}, "is read by parse_json")
        self.assertEqual(
            self.complaints({"src/model/a.cpp": "auto json = Json::array();  // not Json::parse\n"}), [])

    def test_an_unknown_library_is_caught(self):
        self.assert_one({"src/ops/a.cpp": "#include <boost/any.hpp>\n"}, "does not know")
        self.assert_one({"tests/ops/a_test.cpp": "#include <curl.h>\n"}, "does not know")

    def test_an_unknown_or_vague_folder_is_caught(self):
        self.assert_one({"src/other/a.cpp": ""}, "no line in ARROWS")
        self.assert_one({"src/ops/utils/a.h": ""}, "a folder called utils")

    def test_an_inner_folder_keeps_to_itself(self):
        inner = {"src/gpu/sm90/a.h": "", "src/gpu/portable/b.h": ""}
        self.assertEqual(self.complaints({**inner, "src/gpu/gpu_ops.cpp": '#include "gpu/sm90/a.h"\n',
                                          "src/gpu/sm90/c.h": '#include "gpu/sm90/a.h"\n'}), [])
        for path in ("src/gpu/portable/c.h", "src/gpu/c.h"):
            self.assert_one(
                {**inner, path: '#include "gpu/sm90/a.h"\n'}, "is for gpu/sm90 and gpu/gpu_ops.cpp only")
        self.assert_one({**inner, "src/gpu/sm90/c.h": '#include "gpu/portable/b.h"\n'}, "is for gpu/portable")
        self.assert_one({"src/gpu/sm100/a.h": ""}, "no line in INNER_FOLDERS")

    def test_a_namespace_is_that_of_its_folder(self):
        self.assertEqual(self.complaints({
            "src/ops/a.h": "namespace moe {\nint a;\n}\nnamespace moe::inner {\nint b;\n}\n",
            "src/model/a.h": "namespace moe {\nclass Ops;\nclass Device;\n}  // namespace moe\n\n"
                             "namespace moe::model {\nint a;\n}\n",
            "src/model/b.h": "namespace moe::model::inner {\n}\n"}), [])
        self.assert_one({"src/model/a.h": "namespace moe {\nint a;\n}\n"},
                        r"src/model/a\.h:2: namespace moe: the names of src/model are in moe::model")
        self.assert_one({"src/model/a.h": "namespace moe {\nclass Ops;\nint a;\n}\n"}, "in moe::model")
        self.assert_one({"src/model/a.h": "namespace moe::models {\nint a;\n}\n"}, "in moe::model")
        self.assert_one({"src/ops/a.cpp": "namespace moe::ops {\nint a;\n}\n"}, "src/ops are in moe$")

    def test_a_source_that_is_not_built_is_caught(self):
        self.assert_one({"src/ops/deep/a.cpp": ""}, "move this file up")
        self.assert_one({"tests/ops/a_tests.cpp": ""}, "must match")
        self.assert_one({"tests/other/a_test.cpp": ""}, "add a line moe_tests")
        self.assert_one({"bench/a.cpp": ""}, "must match")

    def test_long_files_are_caught(self):
        self.assert_one({"src/ops/a.cpp": "\n" * 499}, "500 lines")
        self.assert_one({"src/ops/a.h": "\n" * 199}, "200 lines")
        self.assertEqual(self.complaints({"src/ops/a.cpp": "\n" * 498, "src/ops/a.h": "\n" * 198}), [])

    def test_long_comments_are_caught(self):
        self.assert_one({"src/ops/a.h": "  // " + "x" * 110 + "\n"}, r"src/ops/a\.h:2: 115 columns")

    def test_a_long_line_of_a_script_is_caught(self):
        for path in ("tools/a.py", "run.sh", "tests/ops/a.cmake", "src/CMakeLists.txt"):
            self.assert_one({path: "x\n" + "x" * 111 + "\n"}, path + r":\d: 111 columns")
        self.assertEqual(self.complaints({"src/ops/a.h": "  // " + "x" * 105 + "\n"}), [])

    def test_a_device_condition_is_caught(self):
        self.assert_one({"src/ops/a.cpp": "#ifdef __CUDACC__\n#endif\n"}, "no #if on devices")
        self.assert_one({"src/ops/a.cpp": "#if defined(MOE_GPU)\n#endif\n"}, "no #if on devices")

    def test_a_missing_licence_line_is_caught(self):
        for complaint in self.complaints({}, spdx=""):
            self.assertIn("the first line must be", complaint)
        self.assertEqual(len(self.complaints({}, spdx="")), 4)


if __name__ == "__main__":
    unittest.main()
