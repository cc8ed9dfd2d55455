//go:build !linux

// On systems other than Linux the program has one command: what is for real servers, Windows Server's above all.
package main

import (
	"os"

	"vipd/internal/realserver/here"
)

func main() {
	os.Exit(here.Main(os.Args))
}
