// SPDX-License-Identifier: MIT
// EMULATED_NVML, a library that is small and no one else's, stands for those of CUDA.
#include "base/cuda_libraries.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/shared_library.h"
#include "support/errors.h"
#include "support/folder.h"

namespace moe {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const CudaLibrary kLibrary{"libmoe_of_cuda.so.13", "nvidia/cu13/lib", "/built/lib"};

class CudaLibraries : public ::testing::Test {
 protected:
  std::string put(const std::string& folder, const fs::path& from = EMULATED_NVML) const {
    const fs::path file = folder_.path() / folder / kLibrary.file;
    fs::create_directories(file.parent_path());
    fs::copy_file(from, file);
    return file.string();
  }
  CudaPlaces places(const std::string& program) const { return {{folder_.path() / program}, "", ""}; }

  // What is opened of the paths for a program at this place.
  std::string opened(const CudaPlaces& places) const {
    return SharedLibrary(cuda_library_paths(kLibrary, places)).path();
  }

  test::TestFolder folder_;
};

TEST_F(CudaLibraries, TheOrderOfTheSearch) {
  const std::string beside = put("site-packages/nvidia/cu13/lib"),
                    active = put("venv/lib/python3.12/site-packages/nvidia/cu13/lib");
  const CudaPlaces all{
      {folder_.path() / "site-packages/moe_cpp/bin/moe"}, "/toolkit", (folder_.path() / "venv").string()};
  EXPECT_THAT(cuda_library_paths(kLibrary, all),
              ElementsAre("libmoe_of_cuda.so.13", "/toolkit/lib64/libmoe_of_cuda.so.13", beside, active,
                          "/built/lib/libmoe_of_cuda.so.13", "/usr/local/cuda/lib64/libmoe_of_cuda.so.13",
                          "/opt/cuda/lib64/libmoe_of_cuda.so.13"));
  EXPECT_THAT(cuda_library_paths({kLibrary.file, kLibrary.wheel_folder, ""}, {}),
              ElementsAre("libmoe_of_cuda.so.13", "/usr/local/cuda/lib64/libmoe_of_cuda.so.13",
                          "/opt/cuda/lib64/libmoe_of_cuda.so.13"));
}

TEST_F(CudaLibraries, AProgramInSitePackages) {
  const std::string wheel = put("env/lib/python3.12/site-packages/nvidia/cu13/lib");
  EXPECT_EQ(opened(places("env/lib/python3.12/site-packages/moe_cpp/moe")), wheel);
  EXPECT_EQ(opened(places("env/lib/python3.12/site-packages/moe_cpp/bin/moe")), wheel);
}

TEST_F(CudaLibraries, AProgramInTheEnvironmentsBin) {
  const std::string wheel = put("env/lib/python3.11/site-packages/nvidia/cu13/lib");
  EXPECT_EQ(opened(places("env/bin/moe")), wheel);
}

// As uv may install: links into a folder of its cache for each package.
TEST_F(CudaLibraries, AProgramThatIsALinkIntoACache) {
  const std::string wheel = put("env/lib/python3.12/site-packages/nvidia/cu13/lib");
  const std::string called = "env/lib/python3.12/site-packages/moe_cpp/bin/moe";
  EXPECT_EQ(opened(places("cache/a/moe_cpp/bin/moe")), "");
  EXPECT_EQ(opened({{folder_.path() / called, folder_.path() / "cache/a/moe_cpp/bin/moe"}, "", ""}), wheel);
  EXPECT_EQ(opened({{"/usr/bin/moe", folder_.path() / called}, "", ""}), wheel);
}

TEST_F(CudaLibraries, TheRunningProgram) {
  const CudaPlaces places = CudaPlaces::of_process();
  ASSERT_FALSE(places.program.empty());
  for (const fs::path& program : places.program) {
    EXPECT_TRUE(program.is_absolute()) << program;
    EXPECT_EQ(program.filename(), "moe_base_tests");
  }
}

TEST_F(CudaLibraries, AProgramBuiltInAClone) {
  const std::string wheel = put("clone/.deps/cuda/nvidia/cu13/lib");
  EXPECT_EQ(opened(places("clone/build/gpu/moe")), wheel);
  EXPECT_EQ(opened(places("elsewhere/build/gpu/moe")), "");
}

TEST_F(CudaLibraries, TheNearerWheelIsTaken) {
  const std::string near = put("clone/env/lib/python3.11/site-packages/nvidia/cu13/lib");
  put("clone/.deps/cuda/nvidia/cu13/lib");
  EXPECT_EQ(opened(places("clone/env/bin/moe")), near);
}

TEST_F(CudaLibraries, OneThatDoesNotOpenIsPassedOverAndSaid) {
  const std::string broken =
      folder_.put("env/lib/python3.11/site-packages/nvidia/cu13/lib/" + kLibrary.file, "cut").string();
  const auto paths = cuda_library_paths(kLibrary, places("env/bin/moe"));
  EXPECT_THAT(test::user_error_of([&] { const SharedLibrary library(paths, "libmoe", "a library", ""); }),
              AllOf(HasSubstr("the loader's own places"), HasSubstr(broken + ": file too short"),
                    HasSubstr("/usr/local/cuda/lib64")));
  const std::string whole = put("env/nvidia/cu13/lib");
  EXPECT_EQ(opened(places("env/bin/moe")), whole);
}

TEST_F(CudaLibraries, AVersionWithoutAFunctionIsNamed) {
  const std::string wheel = put("env/nvidia/cu13/lib");
  const SharedLibrary library(cuda_library_paths(kLibrary, places("env/bin/moe")), "libmoe", "cuBLASLt 13",
                              "take a newer one");
  EXPECT_EQ(test::user_error_of([&] { library.get<int()>("cublasLtMatmul"); }),
            wheel +
                ": expected cuBLASLt 13, of a version that has cublasLtMatmul, found a version without it. "
                "Hint: take a newer one");
}

}  // namespace
}  // namespace moe
