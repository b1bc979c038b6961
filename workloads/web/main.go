// Web is the stateless front of the reference platform: it books entries in the ledger (PostgreSQL on a machine of its
// own), asks the tariff service of the previous system for prices, and lets the sandboxed worker run customers' scripts.
package main

import (
	"context"
	"log/slog"
	"os"

	"hybrid.platform/workloads/internal/service"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ledger, err := openLedger(ctx, ledgerConfigFromEnvironment())
	if err != nil {
		slog.Error("ledger", "error", err)
		os.Exit(2)
	}
	defer ledger.Close()
	go ledger.migrateUntilDone(ctx)

	metrics := service.NewMetrics()
	mux := routes(ledger, tariffsFromEnvironment(), workerFromEnvironment())
	mux.Handle("GET /readyz", service.Check(ledger.Ready))
	mux.Handle("GET /metrics", metrics)
	if err := service.Serve(ctx, service.Port("PORT", 8080), metrics.Observe(mux)); err != nil {
		slog.Error("web ended", "error", err)
		os.Exit(1)
	}
}
