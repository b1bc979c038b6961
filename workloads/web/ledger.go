package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"hybrid.platform/workloads/internal/service"
)

type ledgerConfig struct {
	host, port, database, user string
	passwordFile, caFile       string
}

func ledgerConfigFromEnvironment() ledgerConfig {
	return ledgerConfig{
		host:         service.Environment("LEDGER_HOST", "localhost"),
		port:         service.Environment("LEDGER_PORT", "5432"),
		database:     service.Environment("LEDGER_DATABASE", "ledger"),
		user:         service.Environment("LEDGER_USER", "web"),
		passwordFile: service.Environment("LEDGER_PASSWORD_FILE", "/run/secrets/workload/ledger-password"),
		caFile:       service.Environment("LEDGER_CA_FILE", "/run/secrets/workload/ledger-ca"),
	}
}

// Ledger keeps the entries in PostgreSQL.
type Ledger struct {
	pool     *pgxpool.Pool
	migrated atomic.Bool
}

// openLedger prepares the pool; it connects when somebody needs a connection, so the database may come up later.
// The server must prove by the platform's CA that it is the one that was asked for.
func openLedger(ctx context.Context, config ledgerConfig) (*Ledger, error) {
	// The URL leaves TLS out because BeforeConnect sets it, stricter than any sslmode; there is no way back to clear text.
	address := url.URL{
		Scheme: "postgres", User: url.User(config.user),
		Host: net.JoinHostPort(config.host, config.port), Path: config.database,
		RawQuery: "sslmode=disable&application_name=web&connect_timeout=3",
	}
	settings, err := pgxpool.ParseConfig(address.String())
	if err != nil {
		return nil, err
	}
	settings.MaxConns = 8
	settings.MaxConnIdleTime = time.Minute
	// Read the files at every connection: a new password or CA needs no restart.
	settings.BeforeConnect = func(_ context.Context, connection *pgx.ConnConfig) error {
		password, err := os.ReadFile(config.passwordFile)
		if err != nil {
			return err
		}
		connection.Password = strings.TrimSpace(string(password))
		connection.TLSConfig, err = verifyFull(config.host, config.caFile)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, err
	}
	return &Ledger{pool: pool}, nil
}

func verifyFull(host, caFile string) (*tls.Config, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return &tls.Config{RootCAs: authorities, ServerName: host, MinVersion: tls.VersionTLS13}, nil
}

// Close gives the connections back.
func (l *Ledger) Close() { l.pool.Close() }

// Ready asks the database itself. One that was made anew while this process runs is given its table.
func (l *Ledger) Ready(ctx context.Context) error {
	if !l.migrated.Load() {
		return errors.New("the ledger's table is not there yet")
	}
	_, err := l.pool.Exec(ctx, "SELECT FROM entries LIMIT 1")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == undefinedTable {
		return l.migrate(ctx)
	}
	return err
}

// undefinedTable is what PostgreSQL calls it (Appendix A of its documentation).
const undefinedTable = "42P01"

// Two replicas that start together would both find no table: the lock lets one go first.
const migration = `
SELECT pg_advisory_xact_lock(hashtext('ledger-migration'));
CREATE TABLE IF NOT EXISTS entries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account    text NOT NULL,
    amount     numeric(17, 2) NOT NULL,
    currency   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS entries_by_account ON entries (account, id);
`

func (l *Ledger) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, migration)
		return err
	})
	if err == nil {
		l.migrated.Store(true)
	}
	return err
}

func (l *Ledger) migrateUntilDone(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.migrate(ctx)
		if err == nil {
			slog.Info("ledger is ready")
			return
		}
		slog.Warn("ledger is not ready, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

const columns = "id, account, amount::text, currency, created_at"

// Add books an entry and gives it back as the ledger keeps it.
func (l *Ledger) Add(ctx context.Context, entry NewEntry) (Entry, error) {
	rows, err := l.pool.Query(ctx,
		"INSERT INTO entries (account, amount, currency) VALUES ($1, $2::text::numeric, $3) RETURNING "+columns,
		entry.Account, entry.Amount.String(), entry.Currency)
	if err != nil {
		return Entry{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanEntry)
}

// List gives the newest entries, of one account or of all when account is empty.
func (l *Ledger) List(ctx context.Context, account string, limit int) ([]Entry, error) {
	rows, err := l.pool.Query(ctx,
		"SELECT "+columns+" FROM entries WHERE $1 = '' OR account = $1 ORDER BY id DESC LIMIT $2", account, limit)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows([]Entry{}, rows, scanEntry)
}

func scanEntry(row pgx.CollectableRow) (Entry, error) {
	var entry Entry
	err := row.Scan(&entry.ID, &entry.Account, (*string)(&entry.Amount), &entry.Currency, &entry.CreatedAt)
	return entry, err
}
