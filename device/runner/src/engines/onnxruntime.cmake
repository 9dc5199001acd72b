target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
foreach(folder IN LISTS TENPASS_INCLUDE_DIRS)  # its headers include each other without the folder's name
  target_include_directories(${target} SYSTEM PRIVATE ${folder}/onnxruntime)
endforeach()
