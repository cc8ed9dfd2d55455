// Package bpf holds the packet path: its C, the object that clang made of it, and the Go types that bpf2go read from the
// object. Whoever loads it (internal/plane/xdp) sets the sizes of the region maps and the constants of config.h first.
//
// It is not a library: nothing here loads, attaches or writes maps. The words are explained in shared.h; each map stands
// in the header of its concern.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -type number -type phase -type conn_flag -type conn_kind -type spare -type proxy -type conn -type region -type region_head -type scheduler -type service_flag -type service_kind -type service_key -type service_key6 -type service -type pool -type member -type sh_table -type mh_line -type cache -type call_key -type call -type forward -type plain -type vlan_tag -type station -type peer_key -type fragment_key -type fragment -type client_key -type client -type real_flag -type tunnel -type tunnel_flag -type have -type road -type real -type real_count -type link -type near -type hints -type class -type pace -type filter -type counters -type tunables -type learn_outcome -type learned -type order -type instant -type meta -type reason Lb lb.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types -output-suffix _test Bench bench.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types -type socket_outcome Socket socket.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types -type decap_outcome -type decap_kind -type decap_address Decap decap.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types -type path_outcome -type path_tunnel -type path -type path_flow -type path_real Path path.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -nostdinc
