module hybrid.platform/toolchain/pause

go 1.26
