// golang.org/x/oauth2: go run with_x_oauth2.go URL CLIENT_ID REFRESH_TOKEN SECRET
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func told(gave interface{}, fault error) map[string]interface{} {
	if fault != nil {
		return map[string]interface{}{"failed": fault.Error()}
	}
	return map[string]interface{}{"gave": gave}
}

func main() {
	url, id, refreshToken, secret := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	// The style is said, or else a secret that is refused is sent twice and counts twice.
	config := clientcredentials.Config{
		ClientID: id, ClientSecret: secret, TokenURL: url + "/oauth/token",
		Scopes: []string{"jobs:read"}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	steps := map[string]interface{}{}
	steps["token"] = told(config.Token(ctx))

	var me interface{}
	answer, fault := config.Client(ctx).Get(url + "/me")
	if fault == nil {
		defer answer.Body.Close()
		fault = json.NewDecoder(answer.Body).Decode(&me)
	}
	steps["call"] = told(me, fault)

	endpoint := oauth2.Endpoint{TokenURL: config.TokenURL, AuthStyle: oauth2.AuthStyleInHeader}
	refreshing := oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: endpoint}
	steps["refresh"] = told(refreshing.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token())

	line, fault := json.Marshal(map[string]interface{}{"steps": steps})
	if fault != nil {
		panic(fault)
	}
	fmt.Println(string(line))
}
