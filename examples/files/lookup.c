/*
 * A table from a file: calls look lines up in the directory `tables`, which the operator offers, and write into
 * the scratch directory `work`, which is in memory and goes with the call.
 */
#include "../../sdk/c/ferrite.h"

#include <stdio.h>

#define LINE_BYTES_MAX 256

/* One line of the table: code, name and currency, with tabs between them. */
typedef struct {
    char text[LINE_BYTES_MAX];
    const char *code, *name, *currency;
} country;

/* Opens the table, or keeps an error. */
static FILE *open_table(void)
{
    FILE *table = fopen("/tables/countries.tsv", "r");
    if (!table)
        ferrite_fail(ferrite_text("ERR there is no /tables/countries.tsv; the server offers it by "
                                  "allow_filesystem = [\"tables=…\"]"));
    return table;
}

/* Reads the next line; false at the end. Lines that have another form are left out. */
static bool next_country(FILE *table, country *read)
{
    while (fgets(read->text, sizeof read->text, table)) {
        char *first = strchr(read->text, '\t');
        char *second = first ? strchr(first + 1, '\t') : NULL;
        if (!second)
            continue;
        *first = *second = '\0';
        second[1 + strcspn(second + 1, "\r\n")] = '\0';
        read->code = read->text;
        read->name = first + 1;
        read->currency = second + 1;
        return true;
    }
    return false;
}

/* Replies name and currency of a country, or null. */
FERRITE_FUNCTION(country_of, "code")
{
    ferrite_bytes code;
    if (!ferrite_take_text("code", &code) || !ferrite_take_end())
        return false;
    FILE *table = open_table();
    if (!table)
        return false;
    country read;
    bool found = false;
    while (!found && next_country(table, &read))
        found = strlen(read.code) == code.len && memcmp(read.code, code.ptr, code.len) == 0;
    fclose(table);
    if (!found)
        return ferrite_reply_null();
    return ferrite_reply_array(2) && ferrite_reply_text(read.name) && ferrite_reply_text(read.currency);
}

/* Replies the countries that have a currency. Their names go through a file that only this call has. */
FERRITE_FUNCTION(with_currency, "currency")
{
    ferrite_bytes currency;
    if (!ferrite_take_text("currency", &currency) || !ferrite_take_end())
        return false;
    FILE *table = open_table();
    if (!table)
        return false;
    FILE *names = fopen("/tmp/names", "w+");
    if (!names) {
        fclose(table);
        return ferrite_fail(ferrite_text("ERR there is no /tmp; the server offers it by "
                                         "allow_filesystem = [\"tmp:scratch=64KB\"]"));
    }
    country read;
    uint32_t count = 0;
    while (next_country(table, &read))
        if (strlen(read.currency) == currency.len && memcmp(read.currency, currency.ptr, currency.len) == 0
            && fprintf(names, "%s\n", read.name) > 0)
            count++;
    fclose(table);
    rewind(names);
    char name[LINE_BYTES_MAX];
    bool replied = ferrite_reply_array(count);
    while (replied && count-- && fgets(name, sizeof name, names)) {
        name[strcspn(name, "\n")] = '\0';
        replied = ferrite_reply_text(name);
    }
    fclose(names);
    return replied;
}
