/* HAI_KERNEL(name): the name of a kernel in the object file of one instruction set, name__avx2 and so on. HAI_ISA comes
 * from the build. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNEL_NAME_H_
#define HAI_DEVICES_CPU_EXEC_KERNEL_NAME_H_

#define HAI_KERNEL_PASTE(name, isa) name##__##isa
#define HAI_KERNEL_EXPAND(name, isa) HAI_KERNEL_PASTE(name, isa)
#define HAI_KERNEL(name) HAI_KERNEL_EXPAND(name, HAI_ISA)

#endif /* HAI_DEVICES_CPU_EXEC_KERNEL_NAME_H_ */
