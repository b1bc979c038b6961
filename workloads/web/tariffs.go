package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"hybrid.platform/workloads/internal/service"
)

// A Price is what one unit of the base currency costs, since a day.
type Price struct {
	Currency string      `json:"currency"`
	Rate     json.Number `json:"rate"`
	Since    string      `json:"since"`
}

// Tariffs speaks the line protocol of the previous system: "RATE EUR" is answered by "RATE EUR 1.0842 2026-11-01"
// or by "ERROR …".
type Tariffs struct{ address string }

func tariffsFromEnvironment() Tariffs {
	return Tariffs{net.JoinHostPort(
		service.Environment("TARIFFS_HOST", "localhost"), service.Environment("TARIFFS_PORT", "7070"))}
}

// Price asks for one currency.
func (t Tariffs) Price(ctx context.Context, currency string) (Price, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return Price{}, fmt.Errorf("tariffs: %w", err)
	}
	defer connection.Close()
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return Price{}, err
	}
	if _, err := fmt.Fprintf(connection, "RATE %s\n", currency); err != nil {
		return Price{}, fmt.Errorf("tariffs: %w", err)
	}
	line, err := bufio.NewReader(io.LimitReader(connection, 256)).ReadString('\n')
	if err != nil {
		return Price{}, fmt.Errorf("tariffs: %w", err)
	}
	return parsePrice(line, currency)
}

func parsePrice(line, currency string) (Price, error) {
	fields := strings.Fields(line)
	switch {
	case len(fields) == 4 && fields[0] == "RATE" && fields[1] == currency:
		return Price{currency, json.Number(fields[2]), fields[3]}, nil
	case len(fields) > 0 && fields[0] == "ERROR":
		return Price{}, service.Fail(http.StatusNotFound, "no tariff for %s", currency)
	default:
		return Price{}, fmt.Errorf("tariffs: unexpected answer %q", line)
	}
}
