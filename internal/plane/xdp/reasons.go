package xdp

import "strings"

func verdictOf(name string) string {
	verdict, _, _ := strings.Cut(name, "_")
	return verdict
}
