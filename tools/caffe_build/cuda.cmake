# The CUDA side of the build, taken in by -DCMAKE_PROJECT_INCLUDE: CMakeLists.txt and the CPU build do not know of it.
# The toolkit is the one that CMAKE_CUDA_COMPILER belongs to; cuBLAS, cuRAND and NCCL are named by full path, since the
# packages on the Python package index hold versioned names (libcublas.so.13) only.
set(CUDA_INCLUDES "" CACHE STRING "folders of cublas_v2.h, curand.h and nccl.h")
set(CUDA_LIBRARIES "" CACHE STRING "full paths of the libraries cublas, curand and nccl")
set(CUDA_RPATH "" CACHE STRING "where the installed library finds them")

enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_FLAGS "-O2 -DNDEBUG -w -Xcudafe --diag_suppress=all")

function(add_cuda)
  target_compile_definitions(settings INTERFACE USE_NCCL)
  target_include_directories(settings INTERFACE ${CUDA_INCLUDES} ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_link_libraries(settings INTERFACE ${CUDA_LIBRARIES})
  if(TARGET caffe_library)
    file(GLOB kernels ${SOURCE}/src/caffe/layers/*.cu ${SOURCE}/src/caffe/solvers/*.cu ${SOURCE}/src/caffe/util/*.cu)
    list(FILTER kernels EXCLUDE REGEX "/cudnn_")
    target_sources(caffe_library PRIVATE ${kernels})
    set_target_properties(caffe_library PROPERTIES INSTALL_RPATH "${CUDA_RPATH}")
  endif()
  if(TARGET caffe_tests)
    target_sources(caffe_tests PRIVATE ${SOURCE}/src/caffe/test/test_im2col_kernel.cu)
  endif()
endfunction()
cmake_language(DEFER CALL add_cuda)
