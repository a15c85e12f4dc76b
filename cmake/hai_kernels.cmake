# C kernels, compiled once per instruction set into OBJECT libraries <room>_kernels_<isa> and folded into their room.
#   src/devices/cpu/exec/kernels/foo.c, src/ops/x/x_cpu_kernel.c   every vector width of the target: scalar avx2 avx512, scalar neon
#   src/ops/x/x_cpu_train_kernel.c                                 likewise, in the room of what only training runs
#   src/devices/cpu/exec/kernels/foo__dot.c                        every instruction set, those with dot products as well
#   src/devices/cpu/exec/kernels/foo__avx2.c                       that instruction set only
# Why C, -ffreestanding and a symbol check: an inline C++ function compiled with AVX-512 can be chosen by the linker for the
# whole program and then crash on an older CPU. So these objects may define no weak symbol and need nothing but memcpy & co.
set(HAI_KERNEL_ISAS_X86 scalar avx2 avx2vnni avx512 avx512vnni)
set(HAI_KERNEL_ISAS_ARM scalar neon neondot neoni8mm)
set(HAI_KERNEL_DOT_ISAS avx2vnni avx512vnni neondot neoni8mm)  # the kernels of the set they extend serve them but for foo__dot.c
set(HAI_FLAGS_X86_scalar -march=x86-64)
set(HAI_FLAGS_X86_avx2 -march=x86-64 -mavx2 -mfma -mf16c)
set(HAI_FLAGS_X86_avx2vnni ${HAI_FLAGS_X86_avx2} -mavxvnni)
set(HAI_FLAGS_X86_avx512 ${HAI_FLAGS_X86_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
set(HAI_FLAGS_X86_avx512vnni ${HAI_FLAGS_X86_avx512} -mavx512vnni -mavx512vbmi)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # The set of last resort: still vectorized, but not unrolled and peeled, which would make it half as large again.
  set(HAI_KERNEL_OPTIMIZATION_scalar -O2 -ftree-vectorize -fvect-cost-model=dynamic)
endif()
if(HAI_EMULATE_AVX512)
  # Tests only: these sets' kernels in plain C for AVX2 (tests/emulation/immintrin.h).
  foreach(isa avx2vnni avx512 avx512vnni)
    set(HAI_FLAGS_X86_${isa} ${HAI_FLAGS_X86_avx2} -Wno-psabi -isystem "${CMAKE_SOURCE_DIR}/tests/emulation")
    set(HAI_KERNEL_OPTIMIZATION_${isa} -O1)  # -O3 unrolls for minutes
  endforeach()
endif()
set(HAI_FLAGS_ARM_scalar -march=armv8-a)
set(HAI_FLAGS_ARM_neon -march=armv8-a)
set(HAI_FLAGS_ARM_neondot -march=armv8.2-a+dotprod)
set(HAI_FLAGS_ARM_neoni8mm -march=armv8.2-a+dotprod+i8mm)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(HAI_KERNEL_FAMILY X86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(HAI_KERNEL_FAMILY ARM)
else()
  message(FATAL_ERROR "no CPU kernels for processor '${CMAKE_SYSTEM_PROCESSOR}': x86-64 and Arm64 are supported")
endif()

# hai_cpu_kernels(<room's target> <files>)
function(hai_cpu_kernels room)
  set(files ${ARGN})
  foreach(isa IN LISTS HAI_KERNEL_ISAS_${HAI_KERNEL_FAMILY})
    set(sources_${isa} "")
  endforeach()
  set(known ${HAI_KERNEL_ISAS_X86} ${HAI_KERNEL_ISAS_ARM})
  foreach(file IN LISTS files)
    if(file MATCHES "__dot\\.c$")
      foreach(isa IN LISTS HAI_KERNEL_ISAS_${HAI_KERNEL_FAMILY})
        list(APPEND sources_${isa} "${file}")
      endforeach()
    elseif(file MATCHES "__([a-z0-9]+)\\.c$")
      if(NOT CMAKE_MATCH_1 IN_LIST known)
        message(FATAL_ERROR "${file}: '${CMAKE_MATCH_1}' is no instruction set; known: ${known}")
      endif()
      list(APPEND sources_${CMAKE_MATCH_1} "${file}")  # one of another architecture is simply never used
    else()
      foreach(isa IN LISTS HAI_KERNEL_ISAS_${HAI_KERNEL_FAMILY})
        if(NOT isa IN_LIST HAI_KERNEL_DOT_ISAS)
          list(APPEND sources_${isa} "${file}")
        endif()
      endforeach()
    endif()
  endforeach()
  get_target_property(room_type ${room} TYPE)
  foreach(isa IN LISTS HAI_KERNEL_ISAS_${HAI_KERNEL_FAMILY})
    if(NOT sources_${isa} OR room_type STREQUAL "INTERFACE_LIBRARY")
      continue()
    endif()
    string(TOUPPER ${isa} upper)
    set(objects ${room}_kernels_${isa})
    add_library(${objects} OBJECT ${sources_${isa}})
    target_compile_definitions(${objects} PRIVATE HAI_ISA=${isa} HAI_ISA_${upper}=1)
    target_compile_options(${objects} PRIVATE ${HAI_FLAGS_${HAI_KERNEL_FAMILY}_${isa}} -O3 ${HAI_KERNEL_OPTIMIZATION_${isa}} -ffreestanding -fno-lto
                                              -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-exceptions)
    if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
      # A loop marked for vectorizing that cannot be (as under sanitizers) is a matter of speed, not of correctness.
      target_compile_options(${objects} PRIVATE -Wno-pass-failed)
    endif()
    set(stamp "${CMAKE_BINARY_DIR}/${room}_kernel_symbols_${isa}.ok")
    add_custom_command(
      OUTPUT "${stamp}"
      COMMAND ${CMAKE_COMMAND} "-DNM=${CMAKE_NM}" "-DSANITIZE=${HAI_SANITIZE}${HAI_FUZZ}" "-DSTAMP=${stamp}"
              "-DOBJECTS=$<JOIN:$<TARGET_OBJECTS:${objects}>,|>" -P "${CMAKE_SOURCE_DIR}/cmake/check_kernel_symbols.cmake"
      DEPENDS "$<TARGET_OBJECTS:${objects}>" "${CMAKE_SOURCE_DIR}/cmake/check_kernel_symbols.cmake"
      COMMENT "Checking the symbols of the ${isa} kernels of ${room}"
      VERBATIM)
    add_custom_target(check_${room}_kernel_symbols_${isa} DEPENDS "${stamp}")
    add_dependencies(${room} check_${room}_kernel_symbols_${isa})
    target_sources(${room} PRIVATE "$<TARGET_OBJECTS:${objects}>")
  endforeach()
endfunction()
