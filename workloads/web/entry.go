package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

// An Entry is one booking. The amount stays decimal text all the way: money is never a float.
type Entry struct {
	ID        int64       `json:"id"`
	Account   string      `json:"account"`
	Amount    json.Number `json:"amount"`
	Currency  string      `json:"currency"`
	CreatedAt time.Time   `json:"created_at"`
}

var (
	accountPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	amountPattern   = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,2})?$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
)

// A NewEntry is what a caller asks to be booked.
type NewEntry struct {
	Account  string      `json:"account"`
	Amount   json.Number `json:"amount"`
	Currency string      `json:"currency"`
}

func (e NewEntry) validate() error {
	if err := validAccount(e.Account); err != nil {
		return err
	}
	if !amountPattern.MatchString(e.Amount.String()) {
		return fmt.Errorf("amount %q is not a number with at most two decimals", e.Amount)
	}
	return validCurrency(e.Currency)
}

func validAccount(account string) error {
	if !accountPattern.MatchString(account) {
		return fmt.Errorf("account %q must be 1 to 64 letters, digits, dots, dashes or underscores", account)
	}
	return nil
}

func validCurrency(currency string) error {
	if !currencyPattern.MatchString(currency) {
		return fmt.Errorf("currency %q is not three capital letters", currency)
	}
	return nil
}
