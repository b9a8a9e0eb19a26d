#!/bin/sh
# A script that lives on the tokens of a control server: sh, curl and sed. The key goes in by a file, not as an argument.
set -eu
token_url="$WXMP_CONTROL/v1/accounts/$WXMP_APPID/access_token"
header=$(mktemp); trap 'rm -f "$header"' EXIT
printf 'Authorization: Bearer %s' "$WXMP_CONTROL_KEY" > "$header"

field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

answer=$(curl -fsS -H "@$header" "$token_url")
for try in 1 2 3; do
  token=$(printf %s "$answer" | field access_token)
  said=$(printf 'url = "%s/cgi-bin/get_api_domain_ip?access_token=%s"' "${WXMP_ENDPOINT:-https://api.weixin.qq.com}" "$token" | curl -fsS -K -)
  code=$(printf %s "$said" | field errcode)
  case "$code" in
    40001|40014|42001)
      generation=$(printf %s "$answer" | field generation)
      answer=$(curl -fsS -H "@$header" -d "{\"generation\":$generation,\"errcode\":$code}" "$token_url/replace") ;;
    *) break ;;
  esac
done
printf '%s\n' "$said"
