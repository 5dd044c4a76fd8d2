Feature: values, errors and flags that say nothing

  Background:
    Given an evaluator

  Scenario Outline: a flag without rules
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "STATIC"
    Examples:
      | key      | type    | fallback | value                                 |
      | switch   | Boolean | false    | true                                  |
      | greeting | String  | bye      | 안녕하세요                            |
      | passages | Integer | 1        | 12                                    |
      | weight   | Float   | 1        | 0.25                                  |
      | largest  | Integer | 1        | 9007199254740991                      |
      | layout   | Object  | {}       | {\"columns\": 1, \"title\": \"답\"}   |

  Scenario Outline: another kind than the caller wants
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    When the flag was evaluated with details
    Then the resolved details value should be "<fallback>"
    And the error-code should be "TYPE_MISMATCH"
    Examples:
      | key      | type    | fallback |
      | switch   | String  | no       |
      | switch   | Integer | 1        |
      | switch   | Float   | 0.5      |
      | greeting | Boolean | false    |
      | passages | Boolean | false    |
      | weight   | Integer | 1        |
      | passages | Object  | {}       |

  Scenario: an unknown flag
    Given a String-flag with key "no-such-flag" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "mine"
    And the error-code should be "FLAG_NOT_FOUND"

  Scenario: a flag that is switched off
    Given a Boolean-flag with key "withdrawn" and a fallback value "true"
    When the flag was evaluated with details
    Then the resolved details value should be "true"
    And the reason should be "DISABLED"

  Scenario Outline: no default variant
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    And a context containing a key "city", with type "String" and with value "<city>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "<reason>"
    Examples:
      | key            | type    | fallback | city  | value | reason          |
      | undecided      | Boolean | true     |       | true  | DEFAULT         |
      | undecided-rule | String  | mine     | jeju  | mine  | DEFAULT         |
      | undecided-rule | String  | mine     | busan | first | TARGETING_MATCH |
