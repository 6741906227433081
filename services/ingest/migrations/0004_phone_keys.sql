-- Keys of numbers by the rules of national_numbers.toml: in Brazil a landline is no mobile number without its ninth digit, and
-- Côte d'Ivoire and Benin have two forms of every mobile number. Computed anew for the countries whose rule has changed.
update people set phone_key = regexp_replace(
    regexp_replace(
        regexp_replace(
            regexp_replace(
                regexp_replace(state -> 'addresses' ->> 'phone', '^\+55([1-9][1-9])9([6-9]\d{7})$', '+55\1\2'),
                '^\+22501([04-9][0-3]\d{6})$', '+225\1'
            ),
            '^\+22505([04-9][4-6]\d{6})$', '+225\1'
        ),
        '^\+22507([04-9][7-9]\d{6})$', '+225\1'
    ),
    '^\+22901(\d{8})$', '+229\1'
)
where phone_key ~ '^\+(55|225|229)';

-- The key of the number by which WhatsApp names the account, where it is another than the one written to.
alter table people add column wa_key text;
create index people_by_wa_id on people (tenant, wa_key) where wa_key is not null;
