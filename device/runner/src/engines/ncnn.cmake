# ncnn's headers and library, for whoever builds its runner; toolchain/ncnn.py names them.
set(TENPASS_NCNN_INCLUDE_DIR "" CACHE PATH "The folder that holds ncnn's headers")
set(TENPASS_NCNN_LIBRARY "" CACHE FILEPATH "The library to link with")
target_include_directories(${target} SYSTEM PRIVATE ${TENPASS_NCNN_INCLUDE_DIR})
target_link_libraries(${target} PRIVATE ${TENPASS_NCNN_LIBRARY})
set_target_properties(${target} PROPERTIES SKIP_BUILD_RPATH ON)
