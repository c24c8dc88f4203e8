# The CUDA side of the build, taken in by -DCMAKE_PROJECT_INCLUDE: CMakeLists.txt and the CPU build do not know of it.
# The toolkit is the one that CMAKE_CUDA_COMPILER belongs to; the libraries are named by full path, since the packages on
# the Python package index hold versioned names (libcublas.so.13) only.
set(CUDA_INCLUDES "" CACHE STRING "folders of cublas_v2.h, curand.h and nccl.h")
set(CUDA_LIBRARIES "" CACHE STRING "full paths of the libraries cudart, cublas, curand and nccl")
set(CUDA_RPATH "" CACHE STRING "their folders, relative to the one that Caffe is installed to")

set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # the shared one is among CUDA_LIBRARIES: one runtime in a process, closed last
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_FLAGS "-O2 -DNDEBUG -w")

# Where a target, installed `up` from the top, finds the CUDA libraries, after what it has already.
function(add_rpath target up)
  get_target_property(paths ${target} INSTALL_RPATH)
  list(FILTER paths EXCLUDE REGEX NOTFOUND)
  foreach(folder ${CUDA_RPATH})
    list(APPEND paths "\$ORIGIN/${up}/${folder}")
  endforeach()
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "${paths}")
endfunction()

function(add_cuda)
  target_compile_definitions(settings INTERFACE USE_NCCL)
  # The toolkit's headers first: the packages bring some of the same names, perhaps of another minor version.
  target_include_directories(settings INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_include_directories(settings SYSTEM INTERFACE ${CUDA_INCLUDES})
  target_link_libraries(settings INTERFACE ${CUDA_LIBRARIES})
  if(TARGET caffe_library)
    file(GLOB kernels ${SOURCE}/src/caffe/layers/*.cu ${SOURCE}/src/caffe/solvers/*.cu ${SOURCE}/src/caffe/util/*.cu)
    list(FILTER kernels EXCLUDE REGEX "/cudnn_")
    set_source_files_properties(${kernels} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    target_sources(caffe_library PRIVATE ${kernels})
    add_rpath(caffe_library ..)
    add_rpath(python_module ../..)
    foreach(name caffe convert_imageset compute_image_mean)
      add_rpath(program_${name} ..)
    endforeach()
  endif()
  if(TARGET caffe_tests)
    # It launches kernels of the library, which nvcc 13 no longer shows outside of the file that defines them: one file of both.
    set(kernel_tests ${CMAKE_BINARY_DIR}/kernel_tests.cu)
    file(WRITE ${kernel_tests}
      "#include \"${SOURCE}/src/caffe/util/im2col.cu\"\n#include \"${SOURCE}/src/caffe/test/test_im2col_kernel.cu\"\n")
    target_sources(caffe_tests PRIVATE ${kernel_tests})
    # Not by nvcc, which may go with an older g++ than the one that compiled the rest (Debian 13: g++ 13 beside 14).
    set_target_properties(caffe_tests PROPERTIES LINKER_LANGUAGE CXX)
  endif()
endfunction()
cmake_language(DEFER CALL add_cuda)
